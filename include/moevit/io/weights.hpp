/// Loads and saves the weights of a model: moevit::load(model, path), moevit::save(model, path).
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/compare_descriptions.hpp>
#include <moevit/io/load_parameters.hpp>
#include <moevit/io/metadata_writer.hpp>
#include <moevit/io/model_metadata.hpp>
#include <moevit/io/safetensors.hpp>
#include <moevit/io/safetensors_writer.hpp>

#include <array>
#include <concepts>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

/// What load() needs of a model; Vit, VMoe and MobileVMoe have it.
template <class Model>
concept Loadable = requires(Model& model, Preprocessing preprocessing, std::vector<std::string> names) {
  { model.parameters() } -> std::convertible_to<std::vector<Parameter>>;
  { model.description() } -> std::convertible_to<ModelDescription>;
  model.set_preprocessing(preprocessing);
  model.set_class_names(names);
};

/// What save() needs of a model.
template <class Model>
concept Savable = requires(const Model& model) {
  { model.parameters() } -> std::convertible_to<std::vector<ConstParameter>>;
  { model.description() } -> std::convertible_to<ModelDescription>;
  { model.preprocessing() } -> std::convertible_to<Preprocessing>;
  { model.class_names() } -> std::convertible_to<std::vector<std::string>>;
};

namespace detail {

/// Refuses zip archives (npz, PyTorch's .pt) with a hint, so that they are not called broken safetensors files.
inline void refuse_zip(const std::filesystem::path& path) {
  std::array<char, 4> start{};
  if (std::FILE* file = std::fopen(path.string().c_str(), "rb")) {
    if (std::fread(start.data(), 1, start.size(), file) != start.size()) start = {};
    std::fclose(file);
  }
  if (std::string_view(start.data(), start.size()) == std::string_view("PK\3\4", 4))
    fail(path.string(),
         ": is a zip archive, not a safetensors file. An npz file: include <moevit/io/npz.hpp> and call "
         "moevit::load(model, moevit::read_npz(path)). A PyTorch file: convert it to safetensors first.");
}

/// Refuses a file of ours that was saved from another configuration. Only the size of the image and of Swin's
/// windows may differ, when positions are to be resized.
inline void check_configuration(const ModelDescription& model, ModelDescription saved, const TensorFile& file,
                                const LoadOptions& options) {
  if (options.resize_positions) {
    saved.vit.image = model.vit.image;
    saved.vit.image_width = model.vit.image_width;
    saved.swin.image = model.swin.image;
    saved.swin.image_width = model.swin.image_width;
    saved.swin.window = model.swin.window;
  }
  for (const std::string& kept : options.keep)
    if (kept.starts_with("head")) saved.vit.classes = model.vit.classes, saved.swin.classes = model.swin.classes;
  const std::vector<std::string> lines = differences(model, saved);
  if (lines.empty()) return;
  std::string message = file.path().string() + " was saved from another configuration than the model's:";
  for (const std::string& line : lines) message += "\n  " + line;
  throw Error(message);
}

}  // namespace detail

/// Loads weights that are already read, e.g. by read_npz(). A file of ours also sets preprocessing and class names.
/// Throws Error that lists everything that does not fit; the model is then as it was.
template <Loadable Model>
LoadReport load(Model& model, const TensorFile& file, const LoadOptions& options = {}) {
  const ModelDescription description = model.description();
  auto metadata = read_metadata(file);
  if (file.metadata().contains("moevit.layout"))
    fail(file.path().string(),
         ": is a packed model; <moevit/io/packed_weights.hpp> has load_packed<Net, Policy>(path)");
  std::optional<PositionGrid> saved_grid;
  if (metadata) {
    const VitConfig& vit = metadata->description.vit;
    if (options.check_configuration) detail::check_configuration(description, metadata->description, file, options);
    if (!metadata->description.is_swin() && vit.image > 0 && vit.patch > 0)
      saved_grid = PositionGrid{vit.grid_rows(), vit.grid_columns(), vit.has_class_token()};
  }
  LoadReport report = load_parameters(model.parameters(), description, file, options, saved_grid);
  if (metadata) {
    if (options.resize_positions) {
      metadata->preprocessing.height = description.height();
      metadata->preprocessing.width = description.width();
    }
    model.set_preprocessing(std::move(metadata->preprocessing));
    model.set_class_names(std::move(metadata->class_names));
  }
  return report;
}

/// Loads a safetensors file under any naming that Naming lists. Throws Error when the file is not sound or does not
/// fit; the model is then as it was.
template <Loadable Model>
LoadReport load(Model& model, const std::filesystem::path& path, const LoadOptions& options = {}) {
  detail::refuse_zip(path);
  return load(model, read_safetensors(path, {.allow_trailing_bytes = options.allow_trailing_bytes, .limits = {}}),
              options);
}

/// Writes all weights under our own names as float32, with configuration, preprocessing and class names. The file
/// appears whole or not at all; the same model gives the same bytes. Throws Error when it cannot be written.
template <Savable Model>
void save(const Model& model, const std::filesystem::path& path) {
  const std::vector<ConstParameter> parameters = model.parameters();
  std::map<std::string_view, const ConstParameter*> by_name;
  std::vector<StoredTensor> tensors;
  for (const ConstParameter& parameter : parameters) {
    by_name[parameter.name] = &parameter;
    tensors.push_back({parameter.name, "F32", parameter.shape, {}});
  }
  std::vector<float> values;
  write_safetensors(path, std::move(tensors),
                    to_metadata({model.description(), model.preprocessing(), model.class_names()}),
                    [&](const StoredTensor& tensor) {
                      values = by_name.at(tensor.name)->values();
                      return std::as_bytes(std::span(values));
                    });
}

}  // namespace moevit
