/// Small sets of annotated images written to a folder, for tests.
#pragma once

#include "io/dataset_files.hpp"

#include <filesystem>
#include <string>

namespace moevit::test {

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  write_bytes(path, {text.begin(), text.end()});
}

/// A black PGM image.
inline void write_image(const std::filesystem::path& path, int height, int width) {
  const std::string header = "P5 " + std::to_string(width) + " " + std::to_string(height) + " 255\n";
  write_text(path, header + std::string(static_cast<std::size_t>(height * width), '\0'));
}

}  // namespace moevit::test
