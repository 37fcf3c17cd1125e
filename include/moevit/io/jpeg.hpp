/// JPEG images through libjpeg-turbo. Component `image`.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/exif.hpp>
#include <moevit/io/image_view.hpp>

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs FILE and size_t
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <jpeglib.h>

namespace moevit {
namespace detail {

/// libjpeg reports errors by not returning. Each call of it sits in a member function that holds nothing with a
/// destructor, returns false after a jump, and leaves the reason in message().
class JpegDecoder {
 public:
  JpegDecoder(std::span<const std::uint8_t> bytes, const ImageLimits& limits) {
    jpeg_.err = jpeg_std_error(&error_.base);
    error_.base.error_exit = [](j_common_ptr jpeg) { jump(jpeg); };
    error_.base.emit_message = [](j_common_ptr jpeg, int level) {
      if (level < 0) jump(jpeg);  // a warning: corrupt data, or a file that ends early
    };
    error_.base.output_message = [](j_common_ptr) {};
    created_ = open(bytes, limits);
  }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&jpeg_); }

  const char* message() const { return error_.message; }
  Index height() const { return static_cast<Index>(jpeg_.image_height); }
  Index width() const { return static_cast<Index>(jpeg_.image_width); }
  /// Of the pixels that read_rows writes: 1, 3 or 4 (inverted CMYK).
  Index channels() const { return jpeg_.num_components; }

  /// What the camera says, from the first APP1 segment with Exif data.
  int orientation() const {
    for (jpeg_saved_marker_ptr marker = jpeg_.marker_list; marker != nullptr; marker = marker->next) {
      const std::span<const std::uint8_t> payload(marker->data, marker->data_length);
      if (payload.size() >= 6 && std::memcmp(payload.data(), "Exif", 5) == 0) return exif_orientation(payload);
    }
    return 1;
  }

  bool read_header() {
    if (!created_ || setjmp(error_.jump)) return false;
    jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&jpeg_, TRUE);
    return true;
  }

  bool start() {
    if (setjmp(error_.jump)) return false;
    if (jpeg_.num_components == 1) jpeg_.out_color_space = JCS_GRAYSCALE;
    if (jpeg_.num_components == 3) jpeg_.out_color_space = JCS_RGB;
    if (jpeg_.num_components == 4) jpeg_.out_color_space = JCS_CMYK;
    jpeg_.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&jpeg_);
    return true;
  }

  bool read_row(std::uint8_t* row) {
    if (setjmp(error_.jump)) return false;
    return jpeg_read_scanlines(&jpeg_, &row, 1) == 1;
  }

  /// Reads to the end of the image, where a cut file is found out.
  bool finish() {
    if (setjmp(error_.jump)) return false;
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

 private:
  struct ErrorManager {
    jpeg_error_mgr base;  // first, so that jpeg_.err points at the whole
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX] = {};
  };

  /// A file of a few kilobytes can order thousands of passes over a large progressive image.
  static constexpr int max_scans = 500;

  [[noreturn]] static void jump(j_common_ptr jpeg) {
    auto* error = reinterpret_cast<ErrorManager*>(jpeg->err);
    jpeg->err->format_message(jpeg, error->message);
    std::longjmp(error->jump, 1);
  }

  static void check_scans(j_common_ptr jpeg) {
    if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= max_scans) return;
    auto* error = reinterpret_cast<ErrorManager*>(jpeg->err);
    std::snprintf(error->message, sizeof error->message, "more than %d scans", max_scans);
    std::longjmp(error->jump, 1);
  }

  bool open(std::span<const std::uint8_t> bytes, const ImageLimits& limits) {
    if (setjmp(error_.jump)) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_.mem->max_memory_to_use = static_cast<long>(limits.max_decoder_bytes);
    progress_.progress_monitor = check_scans;
    jpeg_.progress = &progress_;
    jpeg_mem_src(&jpeg_, bytes.data(), static_cast<unsigned long>(bytes.size()));
    return true;
  }

  jpeg_decompress_struct jpeg_{};
  jpeg_progress_mgr progress_{};
  ErrorManager error_{};
  bool created_ = false;
};

/// One row of CMYK, inverted as Adobe writes it, to RGB with the arithmetic of Pillow's convert("RGB").
inline void cmyk_row_to_rgb(const std::uint8_t* from, Index width, std::uint8_t* to) {
  for (Index x = 0; x < width; ++x, from += 4) {
    const int light = from[3];  // 255 - black
    for (int channel = 0; channel < 3; ++channel) {
      const int product = (255 - from[channel]) * light + 128;  // of the ink and the light, divided by 255 below
      *to++ = static_cast<std::uint8_t>(light - (((product >> 8) + product) >> 8));
    }
  }
}

}  // namespace detail

inline bool is_jpeg(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

/// A JPEG image as grey (1 channel) or RGB, turned upright by its Exif orientation. CMYK and YCCK are taken as
/// inverted, as Adobe writes them, and become RGB. Colour is upsampled smoothly.
/// Throws Error, naming `where`, for damaged or cut files - whatever libjpeg warns of - and beyond the limits, which
/// are checked before memory is taken for pixels.
inline Image decode_jpeg(std::span<const std::uint8_t> bytes, const ImageLimits& limits = {},
                         std::string_view where = "image") {
  detail::JpegDecoder decoder(bytes, limits);
  const auto check = [&](bool done) {
    if (!done) fail(where, ": JPEG: ", decoder.message());
  };
  check(decoder.read_header());
  check_image_size(decoder.height(), decoder.width(), limits, where);
  const Index channels = decoder.channels();
  if (channels != 1 && channels != 3 && channels != 4)
    fail(where, ": JPEG: expected 1, 3 or 4 components, found ", channels);
  const int orientation = decoder.orientation();
  check(decoder.start());
  Image image(decoder.height(), decoder.width(), channels == 1 ? 1 : 3);
  std::vector<std::uint8_t> cmyk(channels == 4 ? static_cast<std::size_t>(image.width() * 4) : 0);
  for (Index y = 0; y < image.height(); ++y) {
    check(decoder.read_row(channels == 4 ? cmyk.data() : image.row(y)));
    if (channels == 4) detail::cmyk_row_to_rgb(cmyk.data(), image.width(), image.row(y));
  }
  check(decoder.finish());
  return upright(std::move(image), orientation);
}

}  // namespace moevit
