/// What the results of an output folder depend on.
#pragma once

#include <moevit/io/atomic_file.hpp>
#include <moevit/train/trainer_options.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace examples {

/// Writes the settings to a file, or compares them with those that are there. Throws Error naming the first that
/// differs.
inline void require_settings(const std::filesystem::path& path, const moevit::Fingerprint& settings) {
  const nlohmann::json wanted = settings;
  if (!std::filesystem::exists(path)) return moevit::write_file(path, wanted.dump(1) + "\n");
  std::ifstream stream(path);
  const nlohmann::json found = nlohmann::json::parse(stream, nullptr, false);
  if (found.is_discarded()) moevit::fail(path.string(), ": is not JSON");
  for (const auto& [name, value] : wanted.items())
    if (!found.contains(name) || found[name] != value)
      moevit::fail(path.string(), ": these results are of another '", name, "': ", found.value(name, "none"),
                   ", now it is ", value.get<std::string>(), ": use another output folder");
}

/// The folder of what a seed's runs write.
inline std::string seed_folder(std::uint64_t seed) { return std::string("seed").append(std::to_string(seed)); }

}  // namespace examples
