/// Pixels as a data: URI, so that a page needs no file beside it. Component `image`.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/image_view.hpp>

#include <png.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace moevit::report {

/// Bytes in base64 (RFC 4648, section 4).
inline std::string base64(std::span<const std::uint8_t> bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = bytes.size() - i;
    const std::uint32_t triple = std::uint32_t{bytes[i]} << 16 | (left > 1 ? std::uint32_t{bytes[i + 1]} << 8 : 0u) |
                                 (left > 2 ? std::uint32_t{bytes[i + 2]} : 0u);
    text += digits[triple >> 18];
    text += digits[triple >> 12 & 63];
    text += left > 1 ? digits[triple >> 6 & 63] : '=';
    text += left > 2 ? digits[triple & 63] : '=';
  }
  return text;
}

/// The image as a PNG file in memory. Throws Error when libpng refuses it.
inline std::vector<std::uint8_t> encode_png(const Image& image) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width());
  header.height = static_cast<png_uint_32>(image.height());
  header.format = image.channels() == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  std::vector<std::uint8_t> bytes;
  const auto write = [&](void* target) {
    if (!png_image_write_to_memory(&header, target, &size, 0, image.pixels().data(), 0, nullptr))
      fail("PNG of ", image.width(), " x ", image.height(), " pixels: ", header.message);
  };
  write(nullptr);  // asks for the size
  bytes.resize(size);
  write(bytes.data());
  bytes.resize(size);
  return bytes;
}

/// data:image/png;base64,...
inline std::string png_data_uri(const Image& image) { return "data:image/png;base64," + base64(encode_png(image)); }

}  // namespace moevit::report
