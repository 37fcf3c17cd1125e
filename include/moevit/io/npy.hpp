/// Reads NumPy's .npy arrays: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/file_bytes.hpp>
#include <moevit/io/npy_header.hpp>
#include <moevit/io/tensor_file.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

struct NpyOptions {
  /// Types of two opaque bytes ("|V2") are taken as bfloat16, which is how JAX's arrays reach NumPy.
  bool opaque_as_bfloat16 = false;
};

namespace detail {

/// Row-major little-endian copy of array data that is column-major, big-endian or both.
inline std::vector<std::byte> to_row_major(const NpyHeader& header, std::span<const std::byte> data) {
  const auto element = static_cast<std::size_t>(header.element_bytes);
  std::vector<std::byte> result(data.size());
  std::vector<std::size_t> stride(header.shape.size()), index(header.shape.size(), 0);
  std::size_t step = 1;
  for (std::size_t i = 0; i < stride.size(); ++i) {
    const std::size_t axis = header.fortran_order ? i : stride.size() - 1 - i;
    stride[axis] = step;
    step *= static_cast<std::size_t>(header.shape[axis]);
  }
  std::size_t source = 0;
  for (std::size_t target = 0; target < data.size(); target += element) {
    std::memcpy(result.data() + target, data.data() + source * element, element);
    if (header.big_endian)
      std::reverse(result.begin() + static_cast<std::ptrdiff_t>(target),
                   result.begin() + static_cast<std::ptrdiff_t>(target + element));
    for (std::size_t axis = index.size(); axis-- > 0;) {  // the next element in row-major order
      source += stride[axis];
      if (++index[axis] < static_cast<std::size_t>(header.shape[axis])) break;
      source -= stride[axis] * index[axis];
      index[axis] = 0;
    }
  }
  return result;
}

/// Whether array data must be rewritten before it is row-major and little-endian.
inline bool needs_rewriting(const NpyHeader& header) {
  return header.big_endian || (header.fortran_order && header.shape.size() > 1);
}

}  // namespace detail

/// Reads one .npy file; its tensor has the empty name. Column-major data is brought into row-major order, big-endian
/// data is swapped. Throws Error for pickled objects, records and everything that is not exactly an array of numbers.
inline TensorFile read_npy(const std::filesystem::path& path, const NpyOptions& options = {}) {
  auto file = std::make_shared<const FileBytes>(path);
  const auto bytes = file->bytes();
  const NpyHeader header = parse_npy_header(bytes, path.string(), options.opaque_as_bfloat16);
  if (bytes.size() != header.header_bytes + header.data_bytes)
    fail(path.string(), ": expected ", header.header_bytes + header.data_bytes, " bytes for ", header.type, " ",
         to_string(header.shape), ", found ", bytes.size());
  StoredTensor tensor{"", header.type, header.shape, bytes.subspan(header.header_bytes)};
  if (!detail::needs_rewriting(header)) return TensorFile(path, std::move(file), {std::move(tensor)});
  auto copy = std::make_shared<const std::vector<std::byte>>(detail::to_row_major(header, tensor.bytes));
  tensor.bytes = *copy;
  return TensorFile(path, std::move(copy), {std::move(tensor)});
}

}  // namespace moevit
