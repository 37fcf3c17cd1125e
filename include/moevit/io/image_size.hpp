/// The size of an image file without its pixels. Component `image`.
#pragma once

#include <moevit/io/image.hpp>

#include <filesystem>

namespace moevit {

struct ImageSize {
  Index height = 0;
  Index width = 0;
};

/// Height and width of what load_image gives: of a JPEG or PNG file only the header is read.
/// Throws Error, naming the file, when the header is damaged or beyond the limits.
inline ImageSize image_size(const std::filesystem::path& path, const ImageLimits& limits = {}) {
  const BoundedFile file(path, limits.max_file_bytes);
  if (is_jpeg(file.bytes())) {
    detail::JpegDecoder decoder(file.bytes(), limits);
    if (!decoder.read_header()) fail(file.name(), ": JPEG: ", decoder.message());
    check_image_size(decoder.height(), decoder.width(), limits, file.name());
    constexpr int first_turned = 5;  // Exif orientations that exchange rows and columns
    if (decoder.orientation() >= first_turned) return {decoder.width(), decoder.height()};
    return {decoder.height(), decoder.width()};
  }
  if (is_png(file.bytes())) {
    detail::PngDecoder decoder(file.bytes());
    detail::read_png_header(decoder, file.bytes(), limits, file.name());
    return {decoder.height(), decoder.width()};
  }
  const Image image = decode_image(file.bytes(), limits, file.name());
  return {image.height(), image.width()};
}

}  // namespace moevit
