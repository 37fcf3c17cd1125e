/// The orientation that a camera wrote into a file, and turning the image upright.
#pragma once

#include <moevit/io/image_view.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>

namespace moevit {
namespace detail {

/// Unsigned integers of a TIFF structure, every access checked against its end.
class TiffReader {
 public:
  explicit TiffReader(std::span<const std::uint8_t> tiff) : tiff_(tiff) {
    big_endian_ = tiff.size() >= 2 && tiff[0] == 'M' && tiff[1] == 'M';
    known_ = big_endian_ || (tiff.size() >= 2 && tiff[0] == 'I' && tiff[1] == 'I');
  }

  /// `bytes` (2 or 4) at `offset`, or nothing when they are not all there.
  std::optional<std::uint32_t> read(std::uint64_t offset, std::uint64_t bytes) const {
    if (!known_ || offset > tiff_.size() || bytes > tiff_.size() - offset) return std::nullopt;
    std::uint32_t value = 0;
    for (std::uint64_t i = 0; i < bytes; ++i) {
      value = value << 8 | tiff_[offset + (big_endian_ ? i : bytes - 1 - i)];
    }
    return value;
  }

 private:
  std::span<const std::uint8_t> tiff_;
  bool big_endian_ = false;
  bool known_ = false;
};

}  // namespace detail

/// Orientation 1 to 8 (Exif tag 0x0112 of the first directory) in the payload of a JPEG's APP1 segment.
/// 1, upright, where the payload is no Exif, has no such tag or is damaged: viewers show such a picture as it is.
inline int exif_orientation(std::span<const std::uint8_t> payload) {
  constexpr std::uint8_t signature[] = {'E', 'x', 'i', 'f', 0, 0};
  if (payload.size() < sizeof signature || !std::equal(std::begin(signature), std::end(signature), payload.begin()))
    return 1;
  const detail::TiffReader tiff(payload.subspan(sizeof signature));
  if (tiff.read(2, 2) != 42u) return 1;
  const auto directory = tiff.read(4, 4);
  if (!directory) return 1;
  const auto entries = tiff.read(*directory, 2);
  constexpr std::uint64_t entry_bytes = 12;  // tag 2, type 2, count 4, value 4
  constexpr std::uint32_t orientation_tag = 0x0112;
  constexpr std::uint32_t type_short = 3;
  for (std::uint32_t entry = 0; entry < entries.value_or(0); ++entry) {
    const std::uint64_t offset = std::uint64_t{*directory} + 2 + entry * entry_bytes;
    if (tiff.read(offset, 2) != orientation_tag) continue;
    const auto orientation = tiff.read(offset + 8, 2);
    const bool valid = tiff.read(offset + 2, 2) == type_short && orientation >= 1u && orientation <= 8u;
    return valid ? static_cast<int>(*orientation) : 1;
  }
  return 1;
}

/// The image turned upright: what Exif orientation 1 to 8 says about how it is stored.
inline Image upright(Image stored, int orientation) {
  if (orientation <= 1 || orientation > 8) return stored;
  const bool transposed = orientation >= 5;
  const bool rows_reversed = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool columns_reversed = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const Index channels = stored.channels();
  Image image(transposed ? stored.width() : stored.height(), transposed ? stored.height() : stored.width(), channels);
  for (Index y = 0; y < image.height(); ++y) {
    std::uint8_t* to = image.row(y);
    for (Index x = 0; x < image.width(); ++x, to += channels) {
      const Index row = transposed ? x : y;
      const Index column = transposed ? y : x;
      const std::uint8_t* from = stored.row(rows_reversed ? stored.height() - 1 - row : row) +
                                 (columns_reversed ? stored.width() - 1 - column : column) * channels;
      std::copy_n(from, channels, to);
    }
  }
  return image;
}

}  // namespace moevit
