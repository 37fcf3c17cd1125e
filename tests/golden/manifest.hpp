/// Golden cases: reads the manifests, hands out cases by kind, compares tensors by the rule of their READMEs.
#pragma once

#include "catch.hpp"
#include "shared.hpp"

#include <moevit/io/safetensors.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <vector>

namespace moevit::test {

/// Error and size of one reference tensor, for the tolerance.
struct Accuracy {
  double max_abs_error = 0;  // of the float32 reference against float64
  double max_abs = 0;
};

/// One case of a manifest.
struct GoldenCase {
  std::string name;
  std::string kind;
  nlohmann::json config;
  std::filesystem::path directory;  // the manifest's; file names are relative to it
  std::string file;
  TensorFile tensors;  // empty when `file` is no safetensors file
  std::map<std::string, Accuracy> accuracy;
  std::vector<std::string> extra_files;

  bool has(const std::string& tensor) const { return tensors.find(tensor) != nullptr; }
  const Shape& shape(const std::string& tensor) const { return tensors.at(tensor).shape; }
  std::vector<float> floats(const std::string& tensor) const { return tensors.floats(tensor); }
  std::vector<std::int32_t> integers(const std::string& tensor) const { return tensors.integers(tensor); }
};

/// A manifest and the directory it lies in.
struct Manifest {
  std::filesystem::path directory;
  nlohmann::json json;
};

/// Directories of golden files: environment variable MOEVIT_GOLDEN_DIR (separated by ':'), else both shared ones. Empty
/// when there are none on this machine. Throws when the variable names a directory without a manifest.
inline std::vector<std::filesystem::path> golden_directories() {
  std::vector<std::filesystem::path> directories;
  if (const char* named = std::getenv("MOEVIT_GOLDEN_DIR"); named && *named) {
    std::istringstream list(named);
    for (std::string directory; std::getline(list, directory, ':');) directories.emplace_back(directory);
    return directories;
  }
  for (const char* name : {"golden", "golden2"})
    if (const auto directory = shared(name)) directories.push_back(*directory);
  return directories;
}

/// All manifests, read once.
inline const std::vector<Manifest>& manifests() {
  static const std::vector<Manifest> all = [] {
    std::vector<Manifest> result;
    for (const auto& directory : golden_directories()) {
      std::ifstream stream(directory / "manifest.json");
      if (!stream) throw std::runtime_error(directory.string() + ": no manifest.json");
      result.push_back({directory, nlohmann::json::parse(stream)});
    }
    return result;
  }();
  return all;
}

inline GoldenCase golden_case(const std::filesystem::path& directory, const nlohmann::json& entry) {
  GoldenCase result{entry.at("name"), entry.at("kind"), entry.at("config"), directory, entry.at("file"), {}, {}, {}};
  if (result.file.ends_with(".safetensors")) result.tensors = read_safetensors(directory / result.file);
  if (entry.contains("accuracy"))
    for (const auto& [tensor, values] : entry["accuracy"].items())
      result.accuracy[tensor] = {values.at("max_abs_err_vs_f64"), values.at("max_abs")};
  if (entry.contains("extra_files")) result.extra_files = entry["extra_files"].get<std::vector<std::string>>();
  return result;
}

/// All cases of a kind in all manifests, in their order.
inline std::vector<GoldenCase> cases_of(const std::string& kind) {
  std::vector<GoldenCase> result;
  for (const Manifest& manifest : manifests())
    for (const auto& entry : manifest.json.at("cases"))
      if (entry.at("kind") == kind) result.push_back(golden_case(manifest.directory, entry));
  return result;
}

/// The largest difference of each kind so far, in tolerances.
inline std::map<std::string, double>& largest_ratios() {
  static std::map<std::string, double> ratios;
  return ratios;
}

/// Says how many cases of a kind were run; fails when that is not the number listed in the manifests.
inline void expect_all_run(const std::string& kind, std::size_t run) {
  std::size_t listed = 0;
  for (const Manifest& manifest : manifests())
    for (const auto& entry : manifest.json.at("cases")) listed += entry.at("kind") == kind;
  std::cout << "golden " << kind << ": " << run << " of " << listed << " cases run, largest difference "
            << largest_ratios()[kind] << " of its tolerance\n";
  if (const auto gradients = largest_ratios().find(kind + " gradients"); gradients != largest_ratios().end())
    std::cout << "golden " << kind << ": gradients compared, too, largest difference " << gradients->second
              << " of its tolerance\n";
  CHECK(run == listed);
}

/// Where a result differs most from the reference, measured in tolerances.
struct WorstDifference {
  std::size_t index = 0;
  double got = 0, want = 0, ratio = 0;
};

/// |got - want| / tolerance at its largest; a value that is not finite counts as infinitely wrong.
inline WorstDifference worst_difference(std::span<const float> got, std::span<const float> want, double tolerance) {
  WorstDifference worst;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i]) continue;
    const double difference = std::abs(double{got[i]} - double{want[i]});
    const double ratio = std::isfinite(difference) ? difference / tolerance : INFINITY;
    if (ratio > worst.ratio) worst = {i, got[i], want[i], ratio};
  }
  return worst;
}

/// The tolerance of the READMEs: 1e-6 + max(10 * max_abs_err_vs_f64, 2e-6 * max_abs). A tensor without an entry in the
/// manifest (kinds that were not run in float64) takes max_abs from its own values.
inline double tolerance_of(const GoldenCase& golden, const std::string& tensor, std::span<const float> want) {
  Accuracy accuracy;
  if (const auto found = golden.accuracy.find(tensor); found != golden.accuracy.end())
    accuracy = found->second;
  else
    for (float value : want) accuracy.max_abs = std::max(accuracy.max_abs, std::abs(double{value}));
  return 1e-6 + std::max(10 * accuracy.max_abs_error, 2e-6 * accuracy.max_abs);
}

/// Compares `got` with a float tensor of the case: same number of values, each within `tolerance`.
inline void expect_within(const GoldenCase& golden, const std::string& tensor, std::span<const float> got,
                          double tolerance) {
  const std::vector<float> want = golden.floats(tensor);
  INFO(golden.name << ": " << tensor << " " << to_string(golden.shape(tensor)));
  REQUIRE(got.size() == want.size());
  const WorstDifference worst = worst_difference(got, want, tolerance);
  double& largest = largest_ratios()[golden.kind];
  largest = std::max(largest, worst.ratio);
  INFO("at " << worst.index << ": got " << worst.got << ", want " << worst.want << ", tolerance " << tolerance);
  CHECK(worst.ratio <= 1.0);
}

/// The same with the tolerance of the READMEs.
inline void expect_close(const GoldenCase& golden, const std::string& tensor, std::span<const float> got) {
  expect_within(golden, tensor, got, tolerance_of(golden, tensor, golden.floats(tensor)));
}

/// Compares integers exactly.
template <class Integer>
void expect_equal(const GoldenCase& golden, const std::string& tensor, const std::vector<Integer>& got) {
  const std::vector<std::int32_t> want = golden.integers(tensor);
  INFO(golden.name << ": " << tensor << " " << to_string(golden.shape(tensor)));
  REQUIRE(got.size() == want.size());
  std::size_t wrong = 0;
  while (wrong < want.size() && static_cast<std::int64_t>(got[wrong]) == want[wrong]) ++wrong;
  INFO("first difference at " << wrong);
  CHECK(wrong == want.size());
}

}  // namespace moevit::test
