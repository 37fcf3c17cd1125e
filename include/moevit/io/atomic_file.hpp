/// Writes a file so that its name never shows anything but the whole old or the whole new contents.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/system.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace moevit {

/// Bytes go to a temporary file in the same folder; commit() brings them to disk and renames it to `path`. Without
/// commit() the temporary file is removed and `path` stays as it was. Every failure throws Error with the system's
/// reason.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path) : path_(path), temporary_(path) {
    temporary_ += ".tmp-" + std::to_string(std::random_device{}());
    file_ = std::fopen(temporary_.string().c_str(), "wbx");  // x: never an existing file
    if (!file_) fail(temporary_.string(), ": cannot be created: ", std::strerror(errno));
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (file_) std::fclose(file_);
    std::error_code ignored;  // already renamed after commit()
    if (!committed_) std::filesystem::remove(temporary_, ignored);
  }

  void write(std::span<const std::byte> bytes) {
    if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size())
      refuse("cannot be written");
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

  void commit() {
    if (std::fflush(file_) != 0) refuse("cannot be written");
    if (!detail::sync_file(file_)) refuse("cannot be brought to disk");
    std::FILE* file = file_;
    file_ = nullptr;
    if (std::fclose(file) != 0) refuse("cannot be closed");
    std::error_code failure;
    std::filesystem::rename(temporary_, path_, failure);
    if (failure) fail(path_.string(), ": cannot be replaced: ", failure.message());
    committed_ = true;
    // Makes the rename itself last; where that cannot be had there is a whole file under either name.
    detail::sync_folder(path_.has_parent_path() ? path_.parent_path() : std::filesystem::path("."));
  }

 private:
  [[noreturn]] void refuse(const char* what) const { fail(path_.string(), ": ", what, ": ", std::strerror(errno)); }

  std::filesystem::path path_, temporary_;
  std::FILE* file_ = nullptr;
  bool committed_ = false;
};

/// Writes a file that appears whole or not at all. Throws Error as AtomicFile.
inline void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace moevit
