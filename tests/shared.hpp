/// Where the reference data of the tests lies, and what to do where it is absent.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>

namespace moevit::test {

/// Says why a test is left out; under CI (environment variable CI set) throws instead, because there what it needs must be present.
inline void skip(const std::string& why) {
  if (std::getenv("CI") != nullptr) throw std::runtime_error("cannot be skipped under CI: " + why);
  std::cout << "skipped: " << why << "\n";
}

/// `name` below the shared reference data. Where it is absent the test is left out (see skip) and nothing is returned.
inline std::optional<std::filesystem::path> shared(const std::string& name) {
  const std::filesystem::path root = MOEVIT_SHARED_DIR;
  if (!root.empty() && std::filesystem::exists(root / name)) return root / name;
  const std::string where = root.empty() ? "no directory of reference data" : (root / name).string() + " does not exist";
  skip("needs reference data " + name + " (" + where + ")");
  return std::nullopt;
}

}  // namespace moevit::test
