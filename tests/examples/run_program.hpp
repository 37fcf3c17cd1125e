/// Runs a program and keeps what it wrote; small images and weights for it.
#pragma once

#include "catch.hpp"
#include "io/temporary_folder.hpp"
#include "shared.hpp"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <sys/wait.h>

namespace moevit::test {

struct ProgramResult {
  int code = -1;
  std::string output;  // standard output
  std::string errors;  // standard error
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// `program` with `arguments` (paths without quotes in them); what it writes goes through files in a folder of its own.
inline ProgramResult run_program(const std::string& program, const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  std::string command = "'" + program + "'";
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  command += " >'" + (folder / "output").string() + "' 2>'" + (folder / "errors").string() + "' </dev/null";
  const int status = std::system(command.c_str());
  REQUIRE(WIFEXITED(status));
  return {WEXITSTATUS(status), read_text(folder / "output"), read_text(folder / "errors")};
}

/// A grey image of 28 x 28 pixels with a stripe whose place depends on `number`.
inline void write_pgm(const std::filesystem::path& path, int number) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream stream(path, std::ios::binary);
  stream << "P5\n28 28\n255\n";
  for (int y = 0; y < 28; ++y)
    for (int x = 0; x < 28; ++x) stream.put(static_cast<char>((x + y * number) % 28 < 9 ? 200 : 10 * number));
}

inline std::string fashion_vmoe() { return std::string(MOEVIT_WEIGHTS_DIR) + "/fashion_vmoe.safetensors"; }
inline std::string fashion_mobile_vmoe() {
  return std::string(MOEVIT_WEIGHTS_DIR) + "/fashion_mobile_vmoe.safetensors";
}
inline std::string cifar_mobile_vmoe() { return std::string(MOEVIT_WEIGHTS_DIR) + "/cifar_mobile_vmoe.safetensors"; }

/// The folder of Fashion-MNIST that Debian's dataset-fashion-mnist installs. Absent: skips (see skip) and
/// returns nothing.
inline std::optional<std::string> fashion_mnist() {
  const std::string folder = "/usr/share/datasets/fashion-mnist";
  if (std::filesystem::exists(folder)) return folder;
  skip("needs the Debian package dataset-fashion-mnist");
  return std::nullopt;
}

}  // namespace moevit::test
