/// IDX files (MNIST, Fashion-MNIST), gzipped or not: a file of grey images and one of labels. Component `image`.
#pragma once

#include <moevit/io/bounded_file.hpp>
#include <moevit/io/datasets/dataset.hpp>
#include <moevit/io/gzip.hpp>
#include <moevit/io/image_view.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

/// An array of bytes as an IDX file has it, row-major.
struct IdxArray {
  Shape shape;
  std::vector<std::uint8_t> values;
};

/// The content of an IDX file of unsigned bytes with `rank` axes; the format is described with MNIST
/// (yann.lecun.com/exdb/mnist). Throws Error, naming `where`, when the header says something else, when the content is
/// longer or shorter than it says, and beyond the limits, which are checked before memory is taken.
inline IdxArray decode_idx(std::span<const std::uint8_t> bytes, std::size_t rank, const ImageLimits& limits = {},
                           std::string_view where = "IDX") {
  UnpackedBytes content(bytes, where);
  std::array<std::uint8_t, 4> magic{};
  content.read(magic, "header");
  constexpr std::uint8_t unsigned_byte = 0x08;
  if (magic[0] != 0 || magic[1] != 0) fail(where, ": not an IDX file: it does not begin with two zero bytes");
  if (magic[2] != unsigned_byte) fail(where, ": IDX: expected unsigned bytes (type 8), found type ", int{magic[2]});
  if (magic[3] != rank) fail(where, ": IDX: expected ", rank, " axes, found ", int{magic[3]});
  IdxArray array;
  Index total = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    std::array<std::uint8_t, 4> extent{};
    content.read(extent, "header");
    array.shape.push_back(Index{extent[0]} << 24 | extent[1] << 16 | extent[2] << 8 | extent[3]);
    if (array.shape.back() == 0) fail(where, ": IDX: axis ", axis, " of ", to_string(array.shape), " is empty");
    if (array.shape.back() > limits.max_file_bytes / total) {
      fail(where, ": IDX: shape ", to_string(array.shape), " takes more than the limit of ", limits.max_file_bytes,
           " bytes");
    }
    total *= array.shape.back();
  }
  if (total > content.most_bytes()) fail(where, ": IDX: the content ends in the values: expected ", total, " bytes");
  array.values.resize(static_cast<std::size_t>(total));
  content.read(array.values, "values");
  content.expect_end();
  return array;
}

/// decode_idx on a file.
inline IdxArray read_idx(const std::filesystem::path& path, std::size_t rank, const ImageLimits& limits = {}) {
  const BoundedFile file(path, limits.max_file_bytes);
  return decode_idx(file.bytes(), rank, limits, file.name());
}

/// Images and labels of a pair of IDX files, in memory.
class IdxDataset : public Dataset {
 public:
  /// An empty `labels` path means images without labels. Throws Error, naming the file.
  explicit IdxDataset(const std::filesystem::path& images, const std::filesystem::path& labels = {},
                      const ImageLimits& limits = {})
      : file_(images.string()), images_(read_idx(images, 3, limits)) {
    check_image_size(images_.shape[1], images_.shape[2], limits, file_);
    if (labels.empty()) return;
    labels_ = read_idx(labels, 1, limits).values;
    if (std::ssize(labels_) != images_.shape[0]) {
      fail(labels.string(), ": ", labels_.size(), " labels for the ", images_.shape[0], " images of ", file_);
    }
  }

  Index size() const override { return images_.shape[0]; }
  Image pixels(Index image) const override {
    Image result(images_.shape[1], images_.shape[2], 1);
    const std::size_t bytes = result.pixels().size();
    std::copy_n(images_.values.data() + position(image) * bytes, bytes, result.row(0));
    return result;
  }
  std::string name(Index image) const override { return file_ + "[" + std::to_string(position(image)) + "]"; }
  Index label(Index image) const override {
    const std::size_t i = position(image);
    return labels_.empty() ? -1 : labels_[i];
  }

 private:
  std::string file_;
  IdxArray images_;
  std::vector<std::uint8_t> labels_;
};

}  // namespace moevit
