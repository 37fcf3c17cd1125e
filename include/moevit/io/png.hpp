/// PNG images through libpng. Component `image`.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/image_view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string_view>

#include <png.h>

namespace moevit {
namespace detail {

inline constexpr std::uint8_t png_signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

}  // namespace detail

inline bool is_png(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= sizeof detail::png_signature &&
         std::memcmp(bytes.data(), detail::png_signature, sizeof detail::png_signature) == 0;
}

namespace detail {

/// What the rows of a decoder hold.
enum class PngPixels : unsigned char {
  colours,      ///< 8-bit grey, RGB, or indices into palette()
  numbers,      ///< 8-bit grey as stored, not spread to 0..255, or indices
  wide_numbers  ///< 16-bit grey, high byte first
};

/// libpng reports errors by not returning. Each call of it sits in a member function that holds nothing with a
/// destructor, returns false after a jump, and leaves the reason in message().
class PngDecoder {
 public:
  explicit PngDecoder(std::span<const std::uint8_t> bytes) : unread_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, stop, ignore_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) keep("no memory");
  }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  const char* message() const { return message_; }
  Index height() const { return static_cast<Index>(png_get_image_height(png_, info_)); }
  Index width() const { return static_cast<Index>(png_get_image_width(png_, info_)); }
  /// Of the pixels that read_row writes.
  Index channels() const { return png_get_channels(png_, info_); }
  int passes() const { return passes_; }
  /// Per number: as stored before start(), as read_row writes after it.
  int bits() const { return png_get_bit_depth(png_, info_); }
  int colour_type() const { return png_get_color_type(png_, info_); }
  /// Empty unless the pixels are indices into it.
  std::span<const png_color> palette() const {
    png_colorp colors = nullptr;
    int count = 0;
    if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE) png_get_PLTE(png_, info_, &colors, &count);
    return {colors, static_cast<std::size_t>(count)};
  }

  bool read_header(const ImageLimits& limits) {
    if (info_ == nullptr || setjmp(png_jmpbuf(png_))) return false;
    png_set_read_fn(png_, this, read_bytes);
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_benign_errors(png_, 0);  // none is harmless
    png_set_user_limits(png_, clamp_side(limits.max_width), clamp_side(limits.max_height));
    png_set_chunk_malloc_max(png_, static_cast<png_alloc_size_t>(limits.max_decoder_bytes));
    // Profiles, text, times and the like are of no use here, and often slightly wrong: only their checksums are read.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    return true;
  }

  bool start(PngPixels pixels) {
    if (setjmp(png_jmpbuf(png_))) return false;
    if (pixels != PngPixels::wide_numbers) png_set_strip_16(png_);
    const bool is_spread = colour_type() == PNG_COLOR_TYPE_GRAY && pixels == PngPixels::colours;
    if (is_spread)
      png_set_expand_gray_1_2_4_to_8(png_);
    else
      png_set_packing(png_);  // one byte per index or number
    png_set_strip_alpha(png_);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  /// Call for all rows, as often as there are passes.
  bool read_row(std::uint8_t* row) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_row(png_, row, nullptr);
    return true;
  }

  /// Reads to the end of the image, where a cut file is found out.
  bool finish() {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_end(png_, nullptr);
    return true;
  }

 private:
  static png_uint_32 clamp_side(Index side) {
    return static_cast<png_uint_32>(std::clamp<Index>(side, 1, PNG_UINT_31_MAX));
  }
  void keep(const char* message) { std::snprintf(message_, sizeof message_, "%s", message); }

  [[noreturn]] static void stop(png_structp png, png_const_charp message) {
    static_cast<PngDecoder*>(png_get_error_ptr(png))->keep(message);
    png_longjmp(png, 1);
  }
  static void ignore_warning(png_structp, png_const_charp) {}

  static void read_bytes(png_structp png, png_bytep out, std::size_t count) {
    auto& unread = static_cast<PngDecoder*>(png_get_io_ptr(png))->unread_;
    if (count > unread.size()) png_error(png, "the file ends early");
    std::memcpy(out, unread.data(), count);
    unread = unread.subspan(count);
  }

  std::span<const std::uint8_t> unread_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  char message_[256] = {};
};

/// The size in the header, before libpng sees it: its own refusal does not say what was found.
inline void check_png_size(std::span<const std::uint8_t> bytes, const ImageLimits& limits, std::string_view where) {
  constexpr std::size_t width_offset = 16;  // signature 8, length 4, "IHDR" 4
  if (bytes.size() < width_offset + 8) fail(where, ": PNG: the file ends early");
  if (std::memcmp(bytes.data() + 12, "IHDR", 4) != 0) fail(where, ": PNG: does not begin with a header (IHDR)");
  const auto number = [&](std::size_t offset) {
    Index value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | bytes[offset + i];
    return value;
  };
  check_image_size(number(width_offset + 4), number(width_offset), limits, where);
}

/// libpng makes indices beyond the palette black without a word; here they are an error.
inline Image look_up(const Image& indices, std::span<const png_color> palette, std::string_view where) {
  Image image(indices.height(), indices.width(), 3);
  std::uint8_t* to = image.row(0);
  for (std::uint8_t index : indices.pixels()) {
    if (index >= palette.size()) fail(where, ": PNG: colour ", int{index}, " of a palette with ", palette.size());
    *to++ = palette[index].red;
    *to++ = palette[index].green;
    *to++ = palette[index].blue;
  }
  return image;
}

/// Reads up to the pixels. Throws Error, naming `where`.
inline void read_png_header(PngDecoder& decoder, std::span<const std::uint8_t> bytes, const ImageLimits& limits,
                            std::string_view where) {
  if (!is_png(bytes)) fail(where, ": not a PNG file");
  check_png_size(bytes, limits, where);
  if (!decoder.read_header(limits)) fail(where, ": PNG: ", decoder.message());
}

inline void start_png(PngDecoder& decoder, PngPixels pixels, std::string_view where) {
  if (!decoder.start(pixels)) fail(where, ": PNG: ", decoder.message());
}

/// Reads all rows, row(y) being where they go, and what comes after them. Throws Error, naming `where`.
template <class Row>
void read_png_rows(PngDecoder& decoder, std::string_view where, Row row) {
  const auto check = [&](bool done) {
    if (!done) fail(where, ": PNG: ", decoder.message());
  };
  for (int pass = 0; pass < decoder.passes(); ++pass)
    for (Index y = 0; y < decoder.height(); ++y) check(decoder.read_row(row(y)));
  check(decoder.finish());
}

}  // namespace detail

/// A PNG image as grey (1 channel) or RGB. Palettes become RGB, 1, 2 and 4 bits are spread to 0..255, of 16 bits the
/// high byte is kept. Alpha and transparent colours are dropped, not blended: the stored colours come out, as from
/// Pillow's convert("RGB"). Gamma, colour profiles and orientation chunks are not read.
/// Throws Error, naming `where`, for damaged or cut files, wrong checksums in any chunk, and beyond the limits, which
/// are checked before memory is taken.
inline Image decode_png(std::span<const std::uint8_t> bytes, const ImageLimits& limits = {},
                        std::string_view where = "image") {
  detail::PngDecoder decoder(bytes);
  detail::read_png_header(decoder, bytes, limits, where);
  detail::start_png(decoder, detail::PngPixels::colours, where);
  Image image(decoder.height(), decoder.width(), decoder.channels());
  detail::read_png_rows(decoder, where, [&](Index y) { return image.row(y); });
  if (decoder.palette().empty()) return image;
  return detail::look_up(image, decoder.palette(), where);
}

}  // namespace moevit
