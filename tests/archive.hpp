/// Archives of the shared reference data, unpacked for a test.
#pragma once

#include "io/temporary_folder.hpp"
#include "shared.hpp"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

namespace moevit::test {

/// A folder with the content of shared/data/<name>; nothing, and said so (see skip), where that is absent.
inline std::unique_ptr<TemporaryFolder> unpacked(const std::string& name) {
  const auto archive = shared("data/" + name);
  if (!archive) return nullptr;
  auto folder = std::make_unique<TemporaryFolder>();
  const std::string command = "tar -xf '" + archive->string() + "' -C '" + folder->path().string() + "'";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  return folder;
}

}  // namespace moevit::test
