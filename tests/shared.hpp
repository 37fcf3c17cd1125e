/// Where the reference data of the tests lies, and what to do where it is absent.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>

namespace moevit::test {

/// `name` below the shared reference data. Absent: on a user's machine prints why the test is skipped and returns nothing;
/// under CI (environment variable CI set) throws, because there the data must be present.
inline std::optional<std::filesystem::path> shared(const std::string& name) {
  const std::filesystem::path root = MOEVIT_SHARED_DIR;
  if (!root.empty() && std::filesystem::exists(root / name)) return root / name;
  const std::string where = root.empty() ? "no directory of reference data" : (root / name).string() + " does not exist";
  if (std::getenv("CI") != nullptr) throw std::runtime_error("reference data " + name + ": " + where);
  std::cout << "skipped: needs reference data " << name << " (" << where << ")\n";
  return std::nullopt;
}

}  // namespace moevit::test
