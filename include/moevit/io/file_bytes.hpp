/// The bytes of a file, read only.
#pragma once

#include <moevit/core/error.hpp>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#define MOEVIT_HAS_MMAP 1
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#else
#define MOEVIT_HAS_MMAP 0
#endif

namespace moevit {

/// Maps a regular file where POSIX is there, reads it elsewhere. A mapped file must not be cut short by another
/// process while it is in use: that is the price of not copying it. Throws Error when it cannot be read.
class FileBytes {
 public:
  explicit FileBytes(const std::filesystem::path& path) {
    std::error_code failure;
    const auto status = std::filesystem::status(path, failure);
    if (!std::filesystem::exists(status)) fail(path.string(), ": no such file");
    if (!std::filesystem::is_regular_file(status)) fail(path.string(), ": not a regular file");
    open(path);
  }
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

#if MOEVIT_HAS_MMAP
  ~FileBytes() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

 private:
  void open(const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) fail(path.string(), ": cannot be opened: ", std::strerror(errno));
    struct stat status {};
    void* data = nullptr;
    std::size_t size = 0;
    int error = ::fstat(file, &status) == 0 ? 0 : errno;
    if (error == 0 && status.st_size > 0) {  // an empty file cannot be mapped
      size = static_cast<std::size_t>(status.st_size);
      data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
      if (data == MAP_FAILED) error = errno;
    }
    ::close(file);
    if (error != 0) fail(path.string(), ": cannot be mapped: ", std::strerror(error));
    bytes_ = {static_cast<const std::byte*>(data), size};
  }
#else
 private:
  void open(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    copy_.resize(static_cast<std::size_t>(std::filesystem::file_size(path)));
    stream.read(reinterpret_cast<char*>(copy_.data()), static_cast<std::streamsize>(copy_.size()));
    if (!stream) fail(path.string(), ": cannot be read");
    bytes_ = copy_;
  }
  std::vector<std::byte> copy_;
#endif

  std::span<const std::byte> bytes_;
};

}  // namespace moevit
