// Usage: make_inputs <folder>: weights for the README's model, each value from a fixed sequence, and eight images.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"  // only a function called main may end without return
#define main readme_main
#include "program.cpp"
#undef main
#pragma GCC diagnostic pop

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

/// A linear congruential sequence of numbers in [-0.1, 0.1).
class Sequence {
 public:
  float next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(state_ >> 40) / static_cast<float>(1 << 24) * 0.2f - 0.1f;
  }

 private:
  std::uint64_t state_ = 1;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  std::filesystem::create_directories(folder);
  Sequence sequence;

  Net net;
  for (const moevit::Parameter& parameter : net.parameters()) {
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    for (float& value : values) value = sequence.next();
    parameter.assign(values);
  }
  moevit::save(net, (folder / "net.safetensors").string());

  for (int image = 0; image < 8; ++image) {
    std::ofstream file(folder / ("image" + std::to_string(image) + ".ppm"), std::ios::binary);
    file << "P6\n32 32\n255\n";
    for (int value = 0; value < 32 * 32 * 3; ++value) file.put(static_cast<char>((sequence.next() + 0.1f) * 1275));
    if (!file.flush()) return 1;
  }
}
