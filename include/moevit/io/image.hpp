/// Image files - JPEG, PNG, PPM - into pixels, or straight into what a model reads. Component `image`.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/io/bounded_file.hpp>
#include <moevit/io/image_view.hpp>
#include <moevit/io/jpeg.hpp>
#include <moevit/io/png.hpp>
#include <moevit/io/ppm.hpp>
#include <moevit/io/preprocess.hpp>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace moevit {

/// An image file in memory, recognised by its content, as grey (1 channel) or RGB; see decode_jpeg, decode_png and
/// decode_ppm. Throws Error, naming `where`, when it is damaged, of another format or beyond the limits.
inline Image decode_image(std::span<const std::uint8_t> bytes, const ImageLimits& limits = {},
                          std::string_view where = "image") {
  if (bytes.empty()) fail(where, ": the file is empty");
  if (is_jpeg(bytes)) return decode_jpeg(bytes, limits, where);
  if (is_png(bytes)) return decode_png(bytes, limits, where);
  if (is_ppm(bytes)) return decode_ppm(bytes, limits, where);
  fail(where, ": not an image: expected the content of a JPEG, PNG, PPM or PGM file");
}

/// decode_image on a file. Throws Error, naming it.
inline Image load_image(const std::filesystem::path& path, const ImageLimits& limits = {}) {
  const BoundedFile file(path, limits.max_file_bytes);
  return decode_image(file.bytes(), limits, file.name());
}

/// An image file, preprocessed: float_count(target) floats into `out`, rows x columns x channels.
/// Throws Error, naming the file, when it cannot be read, and when `out` is too short.
inline void read_image(const std::filesystem::path& path, const Preprocessing& target, std::span<float> out,
                       const ImageLimits& limits = {}) {
  preprocess(load_image(path, limits), target, out);
}

}  // namespace moevit
