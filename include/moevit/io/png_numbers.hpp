/// PNG files whose pixels are numbers, of classes or of objects, rather than colours. Component `image`.
#pragma once

#include <moevit/io/bounded_file.hpp>
#include <moevit/io/png.hpp>

#include <cstdint>
#include <filesystem>
#include <vector>

namespace moevit {

/// Height x width numbers.
struct NumberMap {
  Index height = 0;
  Index width = 0;
  std::vector<std::uint16_t> values;

  std::uint16_t operator()(Index y, Index x) const { return values[static_cast<std::size_t>(y * width + x)]; }
};

namespace detail {

/// Opens a PNG file up to its pixels, which must be grey or, where that is told, indices.
inline void read_numbers_header(PngDecoder& decoder, const BoundedFile& file, const ImageLimits& limits, int most_bits,
                                bool palette) {
  read_png_header(decoder, file.bytes(), limits, file.name());
  const int type = decoder.colour_type();
  if (type != PNG_COLOR_TYPE_GRAY && !(palette && type == PNG_COLOR_TYPE_PALETTE))
    fail(file.name(), ": expected a grey PNG", palette ? " or one with a palette" : "",
         ", whose pixels are numbers, found PNG colour type ", type);
  if (decoder.bits() > most_bits)
    fail(file.name(), ": expected at most ", most_bits, " bits per pixel, found ", decoder.bits());
}

}  // namespace detail

/// Numbers of up to 8 bits as one channel: the values of a grey PNG, or the indices of one with a palette, whose
/// colours do not matter. Throws Error, naming the file, as decode_png, and for colours, alpha and 16 bits.
inline Image load_class_map(const std::filesystem::path& path, const ImageLimits& limits = {}) {
  const BoundedFile file(path, limits.max_file_bytes);
  detail::PngDecoder decoder(file.bytes());
  detail::read_numbers_header(decoder, file, limits, 8, true);
  detail::start_png(decoder, detail::PngPixels::numbers, file.name());
  Image image(decoder.height(), decoder.width(), 1);
  detail::read_png_rows(decoder, file.name(), [&](Index y) { return image.row(y); });
  return image;
}

/// Numbers of up to 16 bits of a grey PNG. Throws Error, naming the file, as decode_png, and for colours and alpha.
inline NumberMap load_number_map(const std::filesystem::path& path, const ImageLimits& limits = {}) {
  const BoundedFile file(path, limits.max_file_bytes);
  detail::PngDecoder decoder(file.bytes());
  detail::read_numbers_header(decoder, file, limits, 16, false);
  detail::start_png(decoder, detail::PngPixels::wide_numbers, file.name());
  const Index bytes = decoder.bits() == 16 ? 2 : 1, width = decoder.width();
  std::vector<std::uint8_t> rows(static_cast<std::size_t>(decoder.height() * width * bytes));
  detail::read_png_rows(decoder, file.name(), [&](Index y) { return rows.data() + y * width * bytes; });
  NumberMap map{decoder.height(), width, {}};
  map.values.reserve(rows.size() / static_cast<std::size_t>(bytes));
  for (std::size_t i = 0; i < rows.size(); i += static_cast<std::size_t>(bytes))
    map.values.push_back(static_cast<std::uint16_t>(bytes == 2 ? rows[i] << 8 | rows[i + 1] : rows[i]));
  return map;
}

}  // namespace moevit
