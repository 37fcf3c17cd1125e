// What every consumer builds and runs.
#include <moevit/build_info.hpp>
#include <moevit/core/aligned_buffer.hpp>
#include <moevit/core/config.hpp>

#include <cstdio>

int main() {
  constexpr moevit::VitConfig config{.image = 32, .patch = 4};
  static_assert(config.patches() == 64);
  const moevit::AlignedBuffer<float> buffer(config.patches());
  std::printf("%s\n", moevit::build_info().c_str());
  return static_cast<moevit::Index>(buffer.size()) == config.patches() ? 0 : 1;
}
