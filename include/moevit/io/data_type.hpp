/// Element types of stored tensors, under the names that safetensors gives them, and their conversion to float.
#pragma once

#include <moevit/core/tensor.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

namespace moevit {

/// Bits of one element of type `name` ("F32", "BF16", ...); 0 when the name is not known.
constexpr Index data_type_bits(std::string_view name) {
  struct Row {
    std::string_view name;
    Index bits;
  };
  constexpr std::array rows{
      Row{"F32", 32},    Row{"F16", 16},    Row{"BF16", 16},       Row{"F64", 64},        Row{"I32", 32},
      Row{"I64", 64},    Row{"I16", 16},    Row{"I8", 8},          Row{"U8", 8},          Row{"U16", 16},
      Row{"U32", 32},    Row{"U64", 64},    Row{"BOOL", 8},        Row{"C64", 64},        Row{"F8_E5M2", 8},
      Row{"F8_E4M3", 8}, Row{"F8_E8M0", 8}, Row{"F8_E5M2FNUZ", 8}, Row{"F8_E4M3FNUZ", 8}, Row{"F4", 4},
      Row{"F6_E2M3", 6}, Row{"F6_E3M2", 6},
  };
  for (const Row& row : rows)
    if (row.name == name) return row.bits;
  return 0;
}

/// The value of an IEEE binary16 number; every one is exact in float, a NaN keeps its payload.
inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255u : exponent + 112u;  // 112 = 127 - 15, the biases
  return std::bit_cast<float>(sign | (wide_exponent << 23) | (fraction << 13));
}

/// The value of a bfloat16 number: the upper half of a float.
inline float bfloat16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Whether weights may be stored as this type.
constexpr bool is_floating(std::string_view name) {
  return name == "F32" || name == "F16" || name == "BF16" || name == "F64";
}

/// The product of sizes that are not negative, or nothing when an Index cannot hold it (whatever order: a zero does not
/// excuse an overflow before it).
inline std::optional<Index> checked_product(const Shape& sizes) {
  Index product = 1;
  for (Index size : sizes) {
    if (size != 0 && product > std::numeric_limits<Index>::max() / size) return std::nullopt;
    product *= size;
  }
  return product;
}

/// Element `index` of unaligned little-endian data.
template <class T>
T load_element(const std::byte* data, Index index) {
  static_assert(std::endian::native == std::endian::little, "stored tensors are little-endian, as is every target");
  T value;
  std::memcpy(&value, data + static_cast<std::size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

/// Elements first, first + stride, ... as floats, values.size() of them; false when the type is not a floating one. F64
/// is rounded to the nearest float (beyond its range: infinity).
inline bool read_floats(std::string_view type, const std::byte* data, Index first, Index stride,
                        std::span<float> values) {
  const auto read = [&]<class T>(T, auto to_float) {
    for (Index element = first; float& value : values) {
      value = to_float(load_element<T>(data, element));
      element += stride;
    }
  };
  if (type == "F32")
    read(float{}, [](float value) { return value; });
  else if (type == "F16")
    read(std::uint16_t{}, half_to_float);
  else if (type == "BF16")
    read(std::uint16_t{}, bfloat16_to_float);
  else if (type == "F64")
    read(double{}, [](double value) { return static_cast<float>(value); });
  else
    return false;
  return true;
}

/// Calls `use(read)` with a function from element number to the stored integer; false when the type is not an integer.
template <class Use>
bool with_integer_reader(std::string_view type, const std::byte* data, Use use) {
  const auto as = [&]<class T>(T) { use([data](Index i) { return load_element<T>(data, i); }); };
  if (type == "I32")
    as(std::int32_t{});
  else if (type == "I64")
    as(std::int64_t{});
  else if (type == "U8" || type == "BOOL")
    as(std::uint8_t{});
  else if (type == "I8")
    as(std::int8_t{});
  else if (type == "I16")
    as(std::int16_t{});
  else if (type == "U16")
    as(std::uint16_t{});
  else if (type == "U32")
    as(std::uint32_t{});
  else if (type == "U64")
    as(std::uint64_t{});
  else
    return false;
  return true;
}

}  // namespace moevit
