// expect: AlignedBuffer: values must be trivially copyable
#include <moevit/core/aligned_buffer.hpp>

#include <string>

#ifdef MUST_NOT_COMPILE
using Value = std::string;
#else
using Value = float;
#endif

int main() {
  moevit::AlignedBuffer<Value> buffer(3);
  return static_cast<int>(buffer.size()) - 3;
}
