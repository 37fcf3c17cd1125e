/// Small image files made by libjpeg and libpng, for tests of the decoders.
#pragma once

#include <moevit/io/image_view.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <span>
#include <stdexcept>
#include <vector>

#include <jpeglib.h>
#include <png.h>

namespace moevit::test {

using Bytes = std::vector<std::uint8_t>;

/// What a test wants of a PNG file. `rows` holds the rows as PNG packs them.
struct PngRecipe {
  int height = 1;
  int width = 1;
  int bits = 8;
  int color_type = PNG_COLOR_TYPE_RGB;
  bool interlaced = false;
  std::vector<Bytes> rows = {};
  std::vector<png_color> palette = {};
  /// Called after the header is set and before it is written.
  std::function<void(png_structp, png_infop)> more = {};
};

inline Bytes encode_png(PngRecipe recipe) {
  Bytes file;
  png_structp png = png_create_write_struct(
      PNG_LIBPNG_VER_STRING, nullptr, [](png_structp, png_const_charp message) { throw std::runtime_error(message); },
      nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &file,
      [](png_structp writer, png_bytep data, std::size_t count) {
        auto& out = *static_cast<Bytes*>(png_get_io_ptr(writer));
        out.insert(out.end(), data, data + count);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(recipe.width), static_cast<png_uint_32>(recipe.height), recipe.bits,
               recipe.color_type, recipe.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!recipe.palette.empty()) png_set_PLTE(png, info, recipe.palette.data(), static_cast<int>(recipe.palette.size()));
  if (recipe.more) recipe.more(png, info);
  png_write_info(png, info);
  std::vector<png_bytep> rows;
  for (Bytes& row : recipe.rows) rows.push_back(row.data());
  png_set_interlace_handling(png);
  png_write_image(png, rows.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return file;
}

/// What a test wants of a JPEG file.
struct JpegRecipe {
  int height = 1;
  int width = 1;
  int channels = 3;
  J_COLOR_SPACE color_space = JCS_RGB;       // of `pixels`
  J_COLOR_SPACE stored_space = JCS_UNKNOWN;  // in the file; unknown: libjpeg's choice
  bool progressive = false;
  int sampling = 1;  // 2: colour planes of half the height and width
  Bytes app1 = {};   // payload of an APP1 segment, if any
  Bytes pixels = {};
};

/// Quality 100.
inline Bytes encode_jpeg(JpegRecipe recipe) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = static_cast<JDIMENSION>(recipe.width);
  jpeg.image_height = static_cast<JDIMENSION>(recipe.height);
  jpeg.input_components = recipe.channels;
  jpeg.in_color_space = recipe.color_space;
  jpeg_set_defaults(&jpeg);
  if (recipe.stored_space != JCS_UNKNOWN) jpeg_set_colorspace(&jpeg, recipe.stored_space);
  jpeg_set_quality(&jpeg, 100, TRUE);
  if (recipe.progressive) jpeg_simple_progression(&jpeg);
  jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = recipe.sampling;
  jpeg_start_compress(&jpeg, TRUE);
  if (!recipe.app1.empty()) {
    jpeg_write_marker(&jpeg, JPEG_APP0 + 1, recipe.app1.data(), static_cast<unsigned>(recipe.app1.size()));
  }
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW row = recipe.pixels.data() + jpeg.next_scanline * static_cast<std::size_t>(recipe.width * recipe.channels);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  Bytes file(data, data + size);
  std::free(data);
  return file;
}

/// An Exif payload with one tag, in either byte order.
inline Bytes exif_payload(int orientation, bool big_endian) {
  Bytes payload{'E', 'x', 'i', 'f', 0, 0};
  const auto put = [&](unsigned value, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      payload.push_back(static_cast<std::uint8_t>(value >> (8 * (big_endian ? bytes - 1 - i : i))));
    }
  };
  payload.insert(payload.end(), 2, big_endian ? 'M' : 'I');
  put(42, 2);
  put(8, 4);       // offset of the directory
  put(1, 2);       // entries
  put(0x0112, 2);  // orientation
  put(3, 2);       // unsigned short
  put(1, 4);
  put(static_cast<unsigned>(orientation), 2);
  put(0, 2);
  put(0, 4);  // no further directory
  return payload;
}

}  // namespace moevit::test
