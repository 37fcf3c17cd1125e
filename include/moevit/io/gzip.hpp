/// Files that may be gzipped, read in pieces through zlib. Component `image`.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include <zlib.h>

namespace moevit {

inline bool is_gzip(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 0x1F && bytes[1] == 0x8B;
}

/// The content of `bytes`: unpacked where they are gzipped, as they are otherwise. Nothing is unpacked beyond what is
/// asked for, so a small file cannot take much memory.
class UnpackedBytes {
 public:
  /// `bytes` must outlive this; `where` names them in messages.
  UnpackedBytes(std::span<const std::uint8_t> bytes, std::string_view where)
      : unread_(bytes), where_(where), packed_(is_gzip(bytes)) {
    constexpr int gzip_format = 16;  // added to the size of the window
    if (packed_ && inflateInit2(&stream_, MAX_WBITS + gzip_format) != Z_OK) fail(where_, ": gzip: no memory");
  }
  UnpackedBytes(const UnpackedBytes&) = delete;
  UnpackedBytes& operator=(const UnpackedBytes&) = delete;
  ~UnpackedBytes() {
    if (packed_) inflateEnd(&stream_);
  }

  /// No more than this can still come: deflate packs at most 1032 bytes into one.
  Index most_bytes() const { return std::ssize(unread_) * (packed_ ? 1032 : 1) + (packed_ ? window_bytes : 0); }

  /// Fills `out`. Throws Error, saying `what` was wanted, when the content ends before or is damaged.
  void read(std::span<std::uint8_t> out, std::string_view what) {
    const std::size_t found = packed_ ? inflate_into(out) : copy_into(out);
    if (found < out.size())
      fail(where_, ": the content ends in the ", what, ": expected ", out.size(), " bytes, found ", found);
  }

  /// Throws Error unless everything has been read and, of a gzipped file, the checksum was right.
  void expect_end() {
    std::uint8_t extra = 0;
    if ((packed_ ? inflate_into({&extra, 1}) : copy_into({&extra, 1})) > 0)
      fail(where_, ": bytes after the expected end");
    if (!unread_.empty()) fail(where_, ": gzip: ", unread_.size(), " bytes after the end of the packed data");
  }

 private:
  std::size_t copy_into(std::span<std::uint8_t> out) {
    const std::size_t count = std::min(out.size(), unread_.size());
    std::copy_n(unread_.begin(), count, out.begin());
    unread_ = unread_.subspan(count);
    return count;
  }

  std::size_t inflate_into(std::span<std::uint8_t> out) {
    constexpr std::size_t piece = std::numeric_limits<uInt>::max();  // zlib counts in unsigned int
    std::size_t done = 0;
    while (done < out.size() && !ended_) {
      const auto room = static_cast<uInt>(std::min(out.size() - done, piece));
      const auto available = static_cast<uInt>(std::min(unread_.size(), piece));
      stream_.next_out = out.data() + done;
      stream_.avail_out = room;
      stream_.next_in = const_cast<Bytef*>(unread_.data());
      stream_.avail_in = available;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      done += room - stream_.avail_out;
      unread_ = unread_.subspan(available - stream_.avail_in);
      ended_ = status == Z_STREAM_END;
      if (status == Z_BUF_ERROR) fail(where_, ": gzip: the file ends early");
      if (status != Z_OK && !ended_) fail(where_, ": gzip: ", stream_.msg ? stream_.msg : "damaged data");
    }
    return done;
  }

  /// Unpacked by zlib, or still in its bit buffer, without having been asked for.
  static constexpr Index window_bytes = 1 << MAX_WBITS;

  std::span<const std::uint8_t> unread_;
  std::string where_;
  z_stream stream_{};
  bool packed_;
  bool ended_ = false;
};

}  // namespace moevit
