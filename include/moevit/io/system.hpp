/// What only the operating system can do or tell; where it has no POSIX, files are not brought to disk and nothing is a
/// terminal.
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
inline bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }
#else
inline bool sync_file(std::FILE*) { return true; }
inline void sync_folder(const std::filesystem::path&) {}
inline bool is_terminal(std::FILE*) { return false; }
#endif

}  // namespace moevit::detail
