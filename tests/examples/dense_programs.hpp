/// Weights and images for tests of segment and detect.
#pragma once

#include "catch.hpp"
#include "downstream/models.hpp"
#include "examples/run_program.hpp"
#include "random_values.hpp"

#include <moevit/io/weights.hpp>

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moevit::test {

using examples::downstream::Backbone;
using examples::downstream::Task;

/// What training images of a task go through.
inline Preprocessing preprocessing_of(Task task) {
  const MapSize size = examples::downstream::image_of(task);
  return {.height = size.height, .width = size.width, .shorter_side = std::min(size.height, size.width)};
}

/// A model of train_downstream with random weights.
template <Backbone backbone, Task task, bool is_sparse>
auto random_net(std::vector<std::string> class_names) {
  auto net = std::make_unique<examples::downstream::Net<backbone, task, is_sparse>>();
  randomise(net->parameters(), 3);
  net->set_preprocessing(preprocessing_of(task));
  net->set_class_names(std::move(class_names));
  return net;
}

/// The same in a file.
template <Backbone backbone, Task task, bool is_sparse>
std::string random_weights(const TemporaryFolder& folder, std::vector<std::string> class_names = {}) {
  const std::string path = (folder / "weights.safetensors").string();
  save(*random_net<backbone, task, is_sparse>(std::move(class_names)), path);
  return path;
}

/// A colour image with a pattern that depends on `number`.
inline std::string write_ppm(const std::filesystem::path& path, Index height, Index width, int number = 1) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream stream(path, std::ios::binary);
  stream << "P6\n" << width << ' ' << height << "\n255\n";
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x)
      for (Index channel = 0; channel < 3; ++channel)
        stream.put(static_cast<char>((x * (channel + 2) + y * number * 5 + (x / 8 + y / 8) % 2 * 90) % 256));
  return path.string();
}

inline nlohmann::json read_json(const std::filesystem::path& path) { return nlohmann::json::parse(read_text(path)); }

/// results.json in folder/out, of a run that must have gone well.
inline nlohmann::json results_of(const ProgramResult& result, const TemporaryFolder& folder) {
  INFO(result.errors);
  REQUIRE(result.code == 0);
  CHECK(result.errors.empty());
  return read_json(folder / "out/results.json");
}

inline std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace moevit::test
