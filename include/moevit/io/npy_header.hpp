/// Parses the header of a .npy array: a Python dict literal, read as data and never evaluated.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/data_type.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace moevit {

/// What the header of a .npy array says, checked.
struct NpyHeader {
  std::string type;  // as safetensors calls it, see data_type.hpp
  Index element_bytes = 0;
  bool big_endian = false;
  bool fortran_order = false;
  Shape shape;
  std::size_t header_bytes = 0;  // where the data begins
  std::size_t data_bytes = 0;
};

inline constexpr std::size_t max_npy_header = 64 * 1024;
inline constexpr std::size_t max_npy_rank = 8;

namespace detail {

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`: exactly these keys, each once, in any order.
class NpyDictParser {
 public:
  NpyDictParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  /// Fills shape and fortran_order; returns the type string.
  std::string parse(NpyHeader& header) {
    std::string descr;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr")
        note(has_descr_, key), descr = string();
      else if (key == "fortran_order")
        note(has_order_, key), header.fortran_order = boolean();
      else if (key == "shape")
        note(has_shape_, key), header.shape = tuple();
      else
        refuse("unknown key '" + key + "'");
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (position_ != text_.size()) refuse("text after the dict");
    if (!has_descr_ || !has_order_ || !has_shape_) refuse("descr, fortran_order or shape is missing");
    return descr;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail(where_, ": npy header at character ", position_, ": ", what);
  }
  void note(bool& seen, const std::string& key) const {
    if (std::exchange(seen, true)) refuse("key '" + key + "' occurs twice");
  }
  void skip_spaces() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\n')) ++position_;
  }
  bool accept(char wanted) {
    skip_spaces();
    if (position_ == text_.size() || text_[position_] != wanted) return false;
    ++position_;
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) refuse(std::string("expected '") + wanted + "'");
  }
  std::string string() {
    skip_spaces();
    const char quote = position_ < text_.size() ? text_[position_] : '\0';
    if (quote != '\'' && quote != '"') refuse("expected a string (objects, records and calls are not accepted)");
    const std::size_t end = text_.find(quote, position_ + 1);
    if (end == std::string_view::npos) refuse("string without an end");
    const std::string_view value = text_.substr(position_ + 1, end - position_ - 1);
    if (value.find('\\') != std::string_view::npos) refuse("escapes in strings are not accepted");
    position_ = end + 1;
    return std::string(value);
  }
  bool boolean() {
    skip_spaces();
    for (const auto& [word, value] : {std::pair<std::string_view, bool>{"True", true}, {"False", false}})
      if (text_.substr(position_).starts_with(word)) {
        position_ += word.size();
        return value;
      }
    refuse("expected True or False");
  }
  Shape tuple() {
    Shape shape;
    bool comma = true;
    expect('(');
    while (!accept(')')) {
      if (!comma) refuse("expected ','");
      if (shape.size() == max_npy_rank) refuse("more than 8 axes");
      shape.push_back(number());
      comma = accept(',');
    }
    if (shape.size() == 1 && !comma) refuse("'(n)' is a number, not a tuple");
    return shape;
  }
  Index number() {
    skip_spaces();
    const std::size_t begin = position_;
    Index value = 0;
    for (; position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9'; ++position_) {
      const Index digit = text_[position_] - '0';
      if (value > (std::numeric_limits<Index>::max() - digit) / 10) refuse("number too large");
      value = value * 10 + digit;
    }
    if (position_ == begin) refuse("expected an unsigned integer");
    return value;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t position_ = 0;
  bool has_descr_ = false, has_order_ = false, has_shape_ = false;
};

/// Sets type, element_bytes and big_endian from a type string such as "<f4".
inline void set_npy_type(NpyHeader& header, const std::string& descr, const std::string& where,
                         bool opaque_as_bfloat16) {
  struct Row {
    std::string_view code, name;
  };
  static constexpr std::array rows{Row{"f4", "F32"}, Row{"f2", "F16"}, Row{"f8", "F64"}, Row{"i4", "I32"},
                                   Row{"i8", "I64"}, Row{"i2", "I16"}, Row{"i1", "I8"},  Row{"u1", "U8"},
                                   Row{"u2", "U16"}, Row{"u4", "U32"}, Row{"u8", "U64"}, Row{"b1", "BOOL"}};
  const char order = descr.empty() ? '\0' : descr.front();
  const std::string_view code = std::string_view(descr).substr(descr.empty() ? 0 : 1);
  if (opaque_as_bfloat16 && order == '|' && code == "V2") header.type = "BF16";
  for (const Row& row : rows)
    if (row.code == code) header.type = row.name;
  header.element_bytes = data_type_bits(header.type) / 8;
  const bool order_fits = order == '<' || order == '>' || (order == '|' && (header.element_bytes == 1 || code == "V2"));
  if (header.type.empty() || !order_fits)
    fail(where, ": npy type '", descr, "' is not accepted; expected f2, f4, f8, i1 to i8, u1 to u8 or b1",
         code == "V2" ? " ('|V2' only where it is said to be bfloat16)" : "");
  header.big_endian = order == '>' && header.element_bytes > 1;
}

}  // namespace detail

/// Parses the header at the beginning of `bytes`, which may end anywhere after it. `where` names the array in errors.
/// Throws Error when it is not a header of version 1, 2 or 3 with a plain number type.
inline NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& where,
                                  bool opaque_as_bfloat16 = false) {
  constexpr std::string_view magic = "\x93NUMPY";
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  if (bytes.size() < 10 || std::string_view(text, magic.size()) != magic) fail(where, ": not a npy array");
  const int major = static_cast<int>(bytes[6]), minor = static_cast<int>(bytes[7]);
  if (major < 1 || major > 3 || minor != 0)
    fail(where, ": npy version ", major, ".", minor, ", expected 1.0, 2.0 or 3.0");
  const std::size_t start = major == 1 ? 10 : 12;
  if (bytes.size() < start) fail(where, ": npy header is cut");
  const std::size_t length =
      major == 1 ? load_element<std::uint16_t>(bytes.data() + 8, 0) : load_element<std::uint32_t>(bytes.data() + 8, 0);
  if (length > max_npy_header) fail(where, ": npy header of ", length, " bytes, the limit is ", max_npy_header);
  if (length > bytes.size() - start) fail(where, ": npy header is cut");
  NpyHeader header;
  const std::string descr = detail::NpyDictParser({text + start, length}, where).parse(header);
  detail::set_npy_type(header, descr, where, opaque_as_bfloat16);
  Shape sizes = header.shape;
  sizes.push_back(header.element_bytes);
  const auto data_bytes = checked_product(sizes);
  if (!data_bytes) fail(where, ": shape ", to_string(header.shape), " has too many elements");
  header.header_bytes = start + length;
  header.data_bytes = static_cast<std::size_t>(*data_bytes);
  return header;
}

}  // namespace moevit
