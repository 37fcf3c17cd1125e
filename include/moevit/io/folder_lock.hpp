/// Keeps a second program out of a folder.
#pragma once

#include <moevit/core/error.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#endif

namespace moevit {

/// Held from construction to destruction, or until the process ends in whatever way; leaves no file. Where the system
/// or the file system has no locks it does nothing.
class FolderLock {
 public:
#if defined(__unix__) || defined(__APPLE__)
  /// Throws Error when the folder cannot be opened or another holds it.
  explicit FolderLock(const std::filesystem::path& folder) : descriptor_(::open(folder.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail(folder.string(), ": cannot be opened: ", std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor_);
      fail(folder.string(), ": another program is at work in it");
    }
  }
  ~FolderLock() { ::close(descriptor_); }
#else
  explicit FolderLock(const std::filesystem::path&) {}
#endif
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  [[maybe_unused]] int descriptor_ = -1;
};

}  // namespace moevit
