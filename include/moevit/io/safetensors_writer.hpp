/// Writes safetensors files: same contents, same bytes.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/atomic_file.hpp>
#include <moevit/io/tensor_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

namespace detail {

/// Bytes the tensor's shape and type ask for.
inline Index stored_bytes(const StoredTensor& tensor) {
  const Index bits = data_type_bits(tensor.type);
  Shape sizes = tensor.shape;
  sizes.push_back(bits);
  const auto product = checked_product(sizes);
  if (bits == 0 || !product || *product % 8 != 0)
    fail("tensor '", tensor.name, "': cannot be written as ", tensor.type, " ", to_string(tensor.shape));
  return *product / 8;
}

/// Length and text of the header, padded with spaces so that the data begins on a cache line. A template so that
/// programs that only load do not compile it.
template <class Json>
std::string safetensors_header(const std::vector<StoredTensor>& tensors, const TensorFile::Metadata& metadata) {
  std::string text = "{";
  const auto add = [&](const std::string& name, const Json& value) {
    if (text.size() > 1) text += ',';
    text += Json(name).dump() + ':' + value.dump();
  };
  if (!metadata.empty()) add("__metadata__", metadata);
  Index position = 0;
  for (const StoredTensor& tensor : tensors) {
    const Index end = position + stored_bytes(tensor);
    add(tensor.name, {{"dtype", tensor.type}, {"shape", tensor.shape}, {"data_offsets", {position, end}}});
    position = end;
  }
  text += '}';
  text.resize((text.size() + 8 + 63) / 64 * 64 - 8, ' ');
  std::string length(8, '\0');
  const std::uint64_t size = text.size();
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(length.data(), &size, 8);
  return length + text;
}

}  // namespace detail

namespace detail {

/// Bytes that are at hand.
struct BytesOfTensor {
  std::span<const std::byte> operator()(const StoredTensor& tensor) const { return tensor.bytes; }
};

}  // namespace detail

/// Writes tensors, those of whole cache lines first, then by falling element size, then by name, so that every one is
/// aligned and the first ones lie on cache lines. `bytes_of(tensor)` gives the bytes of one tensor when it is its turn,
/// so that they need not all be in memory. The file appears whole or not at all. Throws Error for names that occur
/// twice or are not UTF-8, for bytes that do not fit the shape, and when the system cannot write.
template <class BytesOf = detail::BytesOfTensor>
void write_safetensors(const std::filesystem::path& path, std::vector<StoredTensor> tensors,
                       const TensorFile::Metadata& metadata = {}, BytesOf bytes_of = {}) {
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    const auto order = [](const StoredTensor& tensor) {
      return std::pair(detail::stored_bytes(tensor) % 64 != 0, -data_type_bits(tensor.type));
    };
    return order(a) != order(b) ? order(a) < order(b) : a.name < b.name;
  });
  TensorFile(path, nullptr, tensors);  // refuses names that occur twice
  std::string header;
  try {
    header = detail::safetensors_header<nlohmann::ordered_json>(tensors, metadata);
  } catch (const nlohmann::json::exception& error) {
    fail(path.string(), ": a name or a metadata text cannot be written: ", error.what());
  }
  AtomicFile file(path);
  file.write(header);
  for (const StoredTensor& tensor : tensors) {
    const std::span<const std::byte> bytes = bytes_of(tensor);
    if (std::ssize(bytes) != detail::stored_bytes(tensor))
      fail(path.string(), ": tensor '", tensor.name, "': expected ", detail::stored_bytes(tensor), " bytes for ",
           tensor.type, " ", to_string(tensor.shape), ", found ", bytes.size());
    file.write(bytes);
  }
  file.commit();
}

}  // namespace moevit
