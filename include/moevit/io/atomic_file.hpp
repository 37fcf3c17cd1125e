/// Writes a file so that its name never shows anything but the whole old or the whole new contents.
#pragma once

#include <moevit/core/error.hpp>

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

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#endif

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
    sync_file();
    std::FILE* file = file_;
    file_ = nullptr;
    if (std::fclose(file) != 0) refuse("cannot be closed");
    std::error_code failure;
    std::filesystem::rename(temporary_, path_, failure);
    if (failure) fail(path_.string(), ": cannot be replaced: ", failure.message());
    committed_ = true;
    sync_folder();
  }

 private:
  [[noreturn]] void refuse(const char* what) const { fail(path_.string(), ": ", what, ": ", std::strerror(errno)); }

#if defined(__unix__) || defined(__APPLE__)
  void sync_file() const {
    if (::fsync(::fileno(file_)) != 0) refuse("cannot be brought to disk");
  }
  /// Makes the rename itself last; some file systems cannot, which leaves a whole file under either name.
  void sync_folder() const {
    const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return;
    ::fsync(descriptor);
    ::close(descriptor);
  }
#else
  void sync_file() const {}
  void sync_folder() const {}
#endif

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
