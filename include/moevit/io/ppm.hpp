/// PPM and PGM images (P2, P3, P5, P6), without any library.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/bounded_file.hpp>
#include <moevit/io/image_view.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace moevit {
namespace detail {

/// The numbers of a header, or of a whole plain file, with white space and # comments between them.
class PpmReader {
 public:
  PpmReader(std::span<const std::uint8_t> bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  /// A number from 0 to `largest`; throws Error when there is none.
  Index number(Index largest, const char* what) {
    skip_space_and_comments();
    if (position_ == bytes_.size()) fail(where_, ": PPM: the file ends before the ", what);
    Index value = 0;
    const std::size_t begin = position_;
    while (position_ < bytes_.size() && bytes_[position_] >= '0' && bytes_[position_] <= '9') {
      value = value * 10 + (bytes_[position_++] - '0');
      if (value > largest) fail(where_, ": PPM: the ", what, " is larger than ", largest);
    }
    const bool ended = position_ == bytes_.size() || is_space(bytes_[position_]) || bytes_[position_] == '#';
    if (position_ == begin || !ended) fail(where_, ": PPM: the ", what, " is not a number");
    return value;
  }

  /// What comes after the one white space that ends the header.
  std::span<const std::uint8_t> raster() const {
    if (position_ == bytes_.size()) fail(where_, ": PPM: the file ends after the header");
    if (bytes_[position_] == '#') fail(where_, ": PPM: expected one white space after the maximum, found a comment");
    return bytes_.subspan(position_ + 1);
  }
  void skip(std::size_t bytes) { position_ += bytes; }

 private:
  static bool is_space(std::uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }
  void skip_space_and_comments() {
    for (; position_ < bytes_.size() && (is_space(bytes_[position_]) || bytes_[position_] == '#'); ++position_) {
      if (bytes_[position_] != '#') continue;
      while (position_ + 1 < bytes_.size() && bytes_[position_] != '\n') ++position_;
    }
  }

  std::span<const std::uint8_t> bytes_;
  std::string_view where_;
  std::size_t position_ = 0;
};

/// round(sample / maxval * 255) for every sample; halves to even, as Pillow rounds.
inline std::vector<std::uint8_t> ppm_byte_table(Index maxval) {
  std::vector<std::uint8_t> table;
  for (Index sample = 0; sample <= maxval; ++sample) {
    const double part = static_cast<double>(sample) / static_cast<double>(maxval);
    table.push_back(static_cast<std::uint8_t>(std::nearbyint(part * 255)));
  }
  return table;
}

inline void read_ppm_raster(std::span<const std::uint8_t> raster, Index maxval, Image& image, std::string_view where) {
  const std::vector<std::uint8_t> table = ppm_byte_table(maxval);
  const std::size_t sample_bytes = maxval > 255 ? 2 : 1;
  std::uint8_t* to = image.row(0);
  const std::size_t samples = image.pixels().size();
  for (std::size_t i = 0; i < samples; ++i) {
    const std::uint8_t* from = raster.data() + i * sample_bytes;
    const Index sample = sample_bytes == 1 ? from[0] : from[0] * 256 + from[1];
    if (sample > maxval) fail(where, ": PPM: sample ", i, " is ", sample, ", larger than the maximum ", maxval);
    to[i] = table[static_cast<std::size_t>(sample)];
  }
}

}  // namespace detail

inline bool is_ppm(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 'P' &&
         (bytes[1] == '2' || bytes[1] == '3' || bytes[1] == '5' || bytes[1] == '6');
}

/// The first image of a PPM (3 channels) or PGM (1 channel) file, binary or plain; samples of any maximum are scaled
/// to 0..255. Throws Error, naming `where`, when it is damaged, cut short or beyond the limits.
inline Image decode_ppm(std::span<const std::uint8_t> bytes, const ImageLimits& limits = {},
                        std::string_view where = "image") {
  if (!is_ppm(bytes)) fail(where, ": PPM: expected P2, P3, P5 or P6 at the start");
  const bool plain = bytes[1] <= '3';
  const Index channels = bytes[1] == '3' || bytes[1] == '6' ? 3 : 1;
  constexpr Index any = Index{1} << 31;
  detail::PpmReader reader(bytes, where);
  reader.skip(2);
  const Index width = reader.number(any, "width");
  const Index height = reader.number(any, "height");
  const Index maxval = reader.number(65535, "maximum");
  if (maxval == 0) fail(where, ": PPM: the maximum is 0");
  check_image_size(height, width, limits, where);
  const auto raster = reader.raster();
  // A plain sample takes a digit and, but for the last, a space.
  const Index samples = height * width * channels;
  const Index needed = plain ? 2 * samples - 1 : samples * (maxval > 255 ? 2 : 1);
  if (static_cast<Index>(raster.size()) < needed) {
    fail(where, ": PPM: ", width, " x ", height, " pixels need at least ", needed, " bytes, found ", raster.size());
  }
  Image image(height, width, channels);
  if (!plain) {
    detail::read_ppm_raster(raster, maxval, image, where);
    return image;
  }
  const std::vector<std::uint8_t> table = detail::ppm_byte_table(maxval);
  for (Index i = 0; i < samples; ++i)
    image.row(0)[i] = table[static_cast<std::size_t>(reader.number(maxval, "sample"))];
  return image;
}

/// decode_ppm on a file.
inline Image load_ppm(const std::filesystem::path& path, const ImageLimits& limits = {}) {
  const BoundedFile file(path, limits.max_file_bytes);
  return decode_ppm(file.bytes(), limits, file.name());
}

}  // namespace moevit
