/// Checkpoints of a training run as safetensors files: written whole or not at all, checked when they are read.
#pragma once

#include <moevit/io/safetensors.hpp>
#include <moevit/io/safetensors_writer.hpp>
#include <moevit/train/checksum.hpp>
#include <moevit/train/training_state.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

namespace detail {

inline constexpr const char* checkpoint_version = "1";

inline std::string to_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%a", value);  // exact
  return text;
}
inline std::string to_text(Index value) { return std::to_string(value); }
inline std::string to_text(std::uint64_t value) { return std::to_string(value); }

inline void from_text(const std::string& text, double& value) { value = std::strtod(text.c_str(), nullptr); }
inline void from_text(const std::string& text, Index& value) { value = std::strtoll(text.c_str(), nullptr, 10); }
inline void from_text(const std::string& text, std::uint64_t& value) {
  value = std::strtoull(text.c_str(), nullptr, 10);
}

/// Calls visit(name, shape, read, write) for every tensor of a checkpoint in a fixed order; read() gives its values,
/// write(values) sets them.
template <class Visit>
void each_checkpoint_tensor(TrainingState& state, Visit visit) {
  for (const Parameter& parameter : state.parameters())
    visit(
        "parameters." + parameter.name, parameter.shape, [&] { return parameter.values(); },
        [&](const std::vector<float>& values) { parameter.assign(values); });
  state.each_state([&](const std::string& name, std::span<float> values) {
    visit(
        name, Shape{std::ssize(values)}, [=] { return std::vector<float>(values.begin(), values.end()); },
        [=](const std::vector<float>& read) { std::copy(read.begin(), read.end(), values.begin()); });
  });
}

/// Throws Error naming the tensor that has a value which is not finite: such a checkpoint would be of no use.
inline void require_finite_values(const std::string& name, const std::vector<float>& values) {
  for (const float value : values)
    if (!std::isfinite(value)) fail("checkpoint: ", name, ": expected finite values, found ", value);
}

}  // namespace detail

/// Writes a checkpoint. The file of that name is replaced when all of the new one is on the disk; until then, and when
/// it fails, it stays. Throws Error when a value is not finite or the system cannot write.
inline void write_checkpoint(const std::filesystem::path& path, TrainingState& state, const Fingerprint& print) {
  TensorFile::Metadata metadata{{"moevit.checkpoint", detail::checkpoint_version}};
  for (const auto& [name, value] : print) metadata["option." + name] = value;
  TrainingProgress::each_field(state.progress, [&](const char* name, const auto& value) {
    metadata[std::string("progress.") + name] = detail::to_text(value);
  });
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::function<std::vector<float>()>> values_of;
  detail::Checksum sum;
  sum.add(metadata);
  detail::each_checkpoint_tensor(state, [&](const std::string& name, const Shape& shape, auto read, auto) {
    tensors.push_back({name, "F32", shape, {}});
    values_of.emplace(name, read);
    const std::vector<float> values = read();
    detail::require_finite_values(name, values);
    sum.add(name);
    sum.add(std::as_bytes(std::span(values)));
  });
  metadata["checksum"] = sum.text();
  std::vector<float> values;
  write_safetensors(path, std::move(tensors), metadata, [&](const StoredTensor& tensor) {
    values = values_of.at(tensor.name)();
    return std::as_bytes(std::span(values));
  });
}

namespace detail {

/// The value of a key. Throws Error when it is not there.
inline const std::string& metadata_at(const TensorFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) fail(file.path().string(), ": is no whole checkpoint: '", key, "' is missing");
  return found->second;
}

/// Throws Error that lists what differs between the run that wrote the checkpoint and this one.
inline void check_fingerprint(const TensorFile& file, const Fingerprint& print) {
  std::string lines;
  const auto add = [&](const std::string& name, const std::string& then, const std::string& now) {
    if (then != now) lines += "\n  " + name + ": the checkpoint has " + then + ", this run " + now;
  };
  for (const auto& [name, value] : print) {
    const auto found = file.metadata().find("option." + name);
    add(name, found == file.metadata().end() ? "nothing" : found->second, value);
  }
  constexpr std::string_view prefix = "option.";
  for (const auto& [key, value] : file.metadata())
    if (key.starts_with(prefix) && !print.contains(key.substr(prefix.size())))
      add(key.substr(prefix.size()), value, "nothing");
  if (!lines.empty())
    throw Error(file.path().string() + ": is of a run with other options:" + lines +
                "\nTo go on with it, use the same options; to begin anew, name another folder or remove this one.");
}

}  // namespace detail

/// Sets a state from a checkpoint. Throws Error naming the file, and the tensor, when it is damaged or does not fit,
/// and the options that differ when it is of another run; the state is then as it was.
inline void read_checkpoint(const std::filesystem::path& path, TrainingState& state, const Fingerprint& print) {
  const TensorFile file = read_safetensors(path);
  if (detail::metadata_at(file, "moevit.checkpoint") != detail::checkpoint_version)
    fail(path.string(), ": was written by another version of this library");
  detail::check_fingerprint(file, print);
  detail::Checksum sum;
  sum.add(file.metadata());
  std::size_t tensors = 0;
  detail::each_checkpoint_tensor(state, [&](const std::string& name, const Shape& shape, auto, auto) {
    const StoredTensor& tensor = file.at(name);
    if (tensor.shape != shape || tensor.type != "F32")
      fail(path.string(), ": tensor '", name, "': expected F32 ", to_string(shape), ", found ", tensor.type, " ",
           to_string(tensor.shape));
    sum.add(name);
    sum.add(tensor.bytes);
    ++tensors;
  });
  if (tensors != file.tensors().size())
    fail(path.string(), ": expected ", tensors, " tensors, found ", file.tensors().size());
  if (detail::metadata_at(file, "checksum") != sum.text())
    fail(path.string(), ": is damaged: its checksum is not that of its contents");
  TrainingProgress progress;
  TrainingProgress::each_field(progress, [&](const char* name, auto& value) {
    detail::from_text(detail::metadata_at(file, std::string("progress.") + name), value);
  });
  detail::each_checkpoint_tensor(
      state, [&](const std::string& name, const Shape&, auto, auto write) { write(file.floats(name)); });
  state.take_progress(progress);
}

namespace detail {

inline constexpr const char* earlier_steps_option = "optimizer steps before";

/// Adds the state that an optimiser starts with to what a run depends on.
inline void add_optimizer_start(const OptimizerState& state, Fingerprint& print) {
  Checksum sum;
  for (const auto& [name, values] : state.tensors) sum.add(name), sum.add(std::as_bytes(std::span(values)));
  print[earlier_steps_option] = to_text(state.steps);
  print["optimizer state before"] = sum.text();
}

}  // namespace detail

/// The optimiser's state in a checkpoint, of a model and options that need not be known. Throws Error naming the file
/// when it is no checkpoint, and the tensor that has a value which is not finite.
inline OptimizerState read_optimizer_state(const std::filesystem::path& path) {
  const TensorFile file = read_safetensors(path);
  if (detail::metadata_at(file, "moevit.checkpoint") != detail::checkpoint_version)
    fail(path.string(), ": was written by another version of this library");
  OptimizerState state;
  detail::from_text(detail::metadata_at(file, "progress.step"), state.steps);
  const std::string earlier = std::string("option.") + detail::earlier_steps_option;
  if (const auto found = file.metadata().find(earlier); found != file.metadata().end()) {
    Index steps = 0;
    detail::from_text(found->second, steps);
    state.steps += steps;
  }
  for (const StoredTensor& tensor : file.tensors()) {
    if (tensor.name.starts_with("parameters.") || tensor.name.starts_with("average.")) continue;
    std::vector<float> values = file.floats(tensor.name);
    detail::require_finite_values(tensor.name, values);
    state.tensors.emplace(tensor.name, std::move(values));
  }
  return state;
}

}  // namespace moevit
