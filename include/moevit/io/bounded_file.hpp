/// The bytes of a file that must not be larger than a limit.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/tensor.hpp>
#include <moevit/io/file_bytes.hpp>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace moevit {

/// Throws Error, naming the file, when it cannot be read or has more than `max_bytes`.
class BoundedFile {
 public:
  BoundedFile(const std::filesystem::path& path, Index max_bytes) : file_(path), name_(path.string()) {
    const Index size = std::ssize(file_.bytes());
    if (size > max_bytes) fail(name_, ": ", size, " bytes, the limit for a file is ", max_bytes);
  }

  std::span<const std::uint8_t> bytes() const {
    return {reinterpret_cast<const std::uint8_t*>(file_.bytes().data()), file_.bytes().size()};
  }
  /// The path, for messages.
  const std::string& name() const { return name_; }

 private:
  FileBytes file_;
  std::string name_;
};

}  // namespace moevit
