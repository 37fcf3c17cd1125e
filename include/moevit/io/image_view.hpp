/// Images of 8-bit pixels: owned, or seen in somebody else's buffer, and the limits that files have to keep.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/tensor.hpp>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace moevit {

/// What a file may claim before memory is taken for it.
struct ImageLimits {
  Index max_width = 65536;
  Index max_height = 65536;
  Index max_pixels = 100'000'000;
  Index max_file_bytes = Index{256} << 20;   // of a file, packed or unpacked
  Index max_decoder_bytes = Index{1} << 30;  // working memory of libjpeg or libpng beside the pixels
};

/// Throws Error, naming `where`, unless an image of this size keeps the limits. Nothing is allocated.
inline void check_image_size(Index height, Index width, const ImageLimits& limits, std::string_view where) {
  if (height < 1 || width < 1) fail(where, ": an image of ", width, " x ", height, " pixels has no content");
  if (width > limits.max_width || height > limits.max_height) {
    fail(where, ": ", width, " x ", height, " pixels, the limit is ", limits.max_width, " x ", limits.max_height);
  }
  if (height > limits.max_pixels / width) {
    fail(where, ": ", width, " x ", height, " pixels, the limit is ", limits.max_pixels, " pixels in all");
  }
}

/// Height x width x channels bytes that somebody else owns: 1 channel (grey) or 3 (red, green, blue), interleaved.
class ImageView {
 public:
  /// `stride`: bytes from one row to the next, 0 for rows without a gap.
  /// Throws Error when the size makes no sense or `pixels` is too short for it.
  ImageView(std::span<const std::uint8_t> pixels, Index height, Index width, Index channels, Index stride = 0)
      : data_(pixels.data()), height_(height), width_(width), channels_(channels), stride_(stride) {
    if (channels != 1 && channels != 3) fail("image: expected 1 or 3 channels, found ", channels);
    if (height < 1 || width < 1 || width > max_extent || height > max_extent) {
      fail("image: expected 1 to ", max_extent, " rows and columns, found ", height, " x ", width);
    }
    if (stride == 0) stride_ = row_bytes();
    if (stride_ < row_bytes()) fail("image: rows of ", row_bytes(), " bytes, but a stride of ", stride);
    const Index before_last_row = static_cast<Index>(pixels.size()) - row_bytes();
    if (before_last_row < 0 || (height > 1 && stride_ > before_last_row / (height - 1))) {
      fail("image: ", height, " rows with a stride of ", stride_, " bytes do not fit into ", pixels.size(), " bytes");
    }
  }

  Index height() const { return height_; }
  Index width() const { return width_; }
  Index channels() const { return channels_; }
  Index row_bytes() const { return width_ * channels_; }
  const std::uint8_t* row(Index y) const { return data_ + y * stride_; }

 private:
  static constexpr Index max_extent = Index{1} << 30;

  const std::uint8_t* data_;
  Index height_;
  Index width_;
  Index channels_;
  Index stride_;
};

/// Owns height x width x channels bytes, without gaps.
class Image {
 public:
  /// All pixels are 0. The caller has checked the size.
  Image(Index height, Index width, Index channels)
      : height_(height),
        width_(width),
        channels_(channels),
        pixels_(static_cast<std::size_t>(height * width * channels)) {}

  Index height() const { return height_; }
  Index width() const { return width_; }
  Index channels() const { return channels_; }
  std::uint8_t* row(Index y) { return pixels_.data() + y * width_ * channels_; }
  const std::uint8_t* row(Index y) const { return pixels_.data() + y * width_ * channels_; }
  std::span<const std::uint8_t> pixels() const { return pixels_; }
  ImageView view() const { return {pixels_, height_, width_, channels_}; }
  operator ImageView() const { return view(); }

 private:
  Index height_;
  Index width_;
  Index channels_;
  std::vector<std::uint8_t> pixels_;
};

}  // namespace moevit
