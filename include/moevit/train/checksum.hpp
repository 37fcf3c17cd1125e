/// A sum that tells whether bytes are the same.
#pragma once

#include <moevit/core/parameter.hpp>
#include <moevit/io/tensor_file.hpp>
#include <moevit/train/random.hpp>

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moevit::detail {

/// A sum over names, shapes and bytes that changes with every bit.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, 8);
      sum_ = mix_bits(sum_ ^ word);
    }
    for (; i < bytes.size(); ++i) sum_ = mix_bits(sum_ ^ std::to_integer<std::uint64_t>(bytes[i]));
    sum_ = mix_bits(sum_ ^ bytes.size());
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
  void add(const TensorFile::Metadata& metadata) {
    for (const auto& [name, value] : metadata)
      if (name != "checksum") add(name), add(value);
  }
  std::string text() const { return std::to_string(sum_); }

 private:
  std::uint64_t sum_ = 0;
};

/// Of all values, and the names they have.
inline std::string checksum(std::span<const ConstParameter> parameters) {
  Checksum sum;
  for (const ConstParameter& parameter : parameters) {
    const std::vector<float> values = parameter.values();
    sum.add(parameter.name);
    sum.add(std::as_bytes(std::span(values)));
  }
  return sum.text();
}

}  // namespace moevit::detail
