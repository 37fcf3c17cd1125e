/// Reads safetensors files: https://huggingface.co/docs/safetensors, with every check of the reference and a few more.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/file_bytes.hpp>
#include <moevit/io/safetensors_header.hpp>
#include <moevit/io/tensor_file.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

namespace moevit {

struct SafetensorsOptions {
  bool allow_trailing_bytes = false;  // bytes after the last tensor, as a few old files have them
  SafetensorsLimits limits;
};

namespace detail {

/// Checks shape, type and byte range of one tensor against each other; an unknown type is left for TensorFile::at.
inline void check_entry(const std::filesystem::path& path, const HeaderEntry& entry) {
  const StoredTensor& tensor = entry.tensor;
  const auto refuse = [&](const auto&... what) { fail(path.string(), ": tensor '", tensor.name, "': ", what...); };
  if (entry.end < entry.begin) refuse("data_offsets end before they begin");
  const auto count = checked_product(tensor.shape);
  if (!count) refuse("shape ", to_string(tensor.shape), " has too many elements");
  const Index bits_each = data_type_bits(tensor.type);
  if (bits_each == 0) return;
  const auto bits = checked_product({*count, bits_each});
  if (!bits) refuse("shape ", to_string(tensor.shape), " has too many bytes");
  if (*bits % 8 != 0) refuse("shape ", to_string(tensor.shape), " of ", tensor.type, " is not a whole number of bytes");
  if (static_cast<std::uint64_t>(*bits / 8) != entry.end - entry.begin)
    refuse("expected ", *bits / 8, " bytes for ", tensor.type, " ", to_string(tensor.shape), ", found data_offsets of ",
           entry.end - entry.begin, " bytes");
}

/// Checks that the tensors cover the data without gap, overlap or rest, and hands each its bytes.
inline std::vector<StoredTensor> assign_data(const std::filesystem::path& path, std::vector<HeaderEntry> entries,
                                             std::span<const std::byte> data, bool allow_trailing_bytes) {
  std::vector<HeaderEntry*> order;  // pointers, as the code that sorts entries takes long to compile
  order.reserve(entries.size());
  for (HeaderEntry& entry : entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const HeaderEntry* a, const HeaderEntry* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  std::uint64_t position = 0;
  std::vector<StoredTensor> tensors;
  tensors.reserve(entries.size());
  for (HeaderEntry* each : order) {
    HeaderEntry& entry = *each;
    check_entry(path, entry);
    if (entry.begin != position)
      fail(path.string(), ": tensor '", entry.tensor.name, "': expected to begin at byte ", position,
           " of the data, found ", entry.begin, entry.begin < position ? " (overlap)" : " (gap)");
    if (entry.end > data.size())
      fail(path.string(), ": tensor '", entry.tensor.name, "' ends at byte ", entry.end, " of ", data.size(),
           " bytes of data");
    entry.tensor.bytes =
        data.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.end - entry.begin));
    position = entry.end;
    tensors.push_back(std::move(entry.tensor));
  }
  if (position != data.size() && !allow_trailing_bytes)
    fail(path.string(), ": ", data.size() - position, " bytes after the last tensor belong to nothing");
  return tensors;
}

/// The header's bytes, checked against the size of the file.
inline std::span<const std::byte> safetensors_header(const std::filesystem::path& path, std::span<const std::byte> file,
                                                     std::uint64_t limit) {
  if (file.size() < 8) fail(path.string(), ": not a safetensors file: ", file.size(), " bytes, expected at least 8");
  const auto length = load_element<std::uint64_t>(file.data(), 0);
  if (length > limit) fail(path.string(), ": header of ", length, " bytes, the limit is ", limit);
  if (length > file.size() - 8)
    fail(path.string(), ": header of ", length, " bytes in a file of ", file.size(), " bytes");
  const auto header = file.subspan(8, static_cast<std::size_t>(length));
  if (header.empty() || header.front() != std::byte{'{'}) fail(path.string(), ": the header does not begin with '{'");
  // The JSON library takes a zero byte for the end of the text.
  if (std::find(header.begin(), header.end(), std::byte{0}) != header.end())
    fail(path.string(), ": the header has a zero byte");
  return header;
}

}  // namespace detail

/// Reads the index of a safetensors file and maps its data. Throws Error for anything that is not exactly a
/// safetensors file. Memory: the mapped file, and an index whose size `options.limits` bounds.
inline TensorFile read_safetensors(const std::filesystem::path& path, const SafetensorsOptions& options = {}) {
  auto file = std::make_shared<const FileBytes>(path);
  const auto bytes = file->bytes();
  const auto header = detail::safetensors_header(path, bytes, options.limits.header_bytes);
  detail::SafetensorsHeaderHandler handler(options.limits);
  if (!detail::parse_json({reinterpret_cast<const char*>(header.data()), header.size()}, handler))
    fail(path.string(), ": header: ", handler.problem());
  auto tensors = detail::assign_data(path, std::move(handler.entries()), bytes.subspan(8 + header.size()),
                                     options.allow_trailing_bytes);
  return TensorFile(path, std::move(file), std::move(tensors), std::move(handler.metadata()));
}

}  // namespace moevit
