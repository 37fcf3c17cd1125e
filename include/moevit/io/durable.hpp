/// Brings files to the disk, where the system lets us: elsewhere these do nothing.
#pragma once

#include <cstdio>
#include <filesystem>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#endif

namespace moevit::detail {

#if defined(__unix__) || defined(__APPLE__)
/// What was flushed to the file is on the disk afterwards. false: it is not, and errno says why.
inline bool sync_file(std::FILE* file) { return ::fsync(::fileno(file)) == 0; }

/// The same for a folder's list of files; some file systems cannot.
inline void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}
#else
inline bool sync_file(std::FILE*) { return true; }
inline void sync_folder(const std::filesystem::path&) {}
#endif

}  // namespace moevit::detail
