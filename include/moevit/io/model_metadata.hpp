/// What a weights file of ours says besides weights: the model's configuration, its preprocessing, the names of its
/// classes.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/error.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/io/config_fields.hpp>
#include <moevit/io/flat_json.hpp>
#include <moevit/io/tensor_file.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace moevit {

/// Everything in the metadata of a file written by save().
struct ModelMetadata {
  ModelDescription description;
  Preprocessing preprocessing;
  std::vector<std::string> class_names;
};

inline constexpr const char* weights_format_version = "1";
inline constexpr std::size_t max_class_names_text = std::size_t{1} << 20;  // 21,843 names of ImageNet take half of it

namespace detail {

using Json = nlohmann::ordered_json;

inline Json to_json(Index value) { return value; }
inline Json to_json(bool value) { return value; }
inline Json to_json(float value) { return static_cast<double>(value); }
inline Json to_json(const std::vector<float>& values) {
  Json list = Json::array();
  for (const float value : values) list.push_back(to_json(value));
  return list;
}
template <class Enum>
requires std::is_enum_v<Enum> Json to_json(Enum value) { return std::string(enum_name(value)); }
/// ["last_odd", 2], or ["list", 1, 3] with the numbers of the blocks.
inline Json to_json(const Placement& placement) {
  Json json = {to_json(placement.rule)};
  if (placement.rule != Placement::Rule::list) {
    json.push_back(placement.count);
    return json;
  }
  for (Index block = 0; block < 256; ++block)
    if (placement.contains(block, 256)) json.push_back(block);
  return json;
}

using JsonValues = std::vector<JsonScalar>;

/// The value at a position, which must have the wanted kind.
template <class T>
const T& scalar(const JsonValues& values, std::size_t position, const char* kind) {
  const T* value = position < values.size() ? std::get_if<T>(&values[position]) : nullptr;
  if (!value) fail("expected ", kind);
  return *value;
}
inline Index index_at(const JsonValues& values, std::size_t position) {
  constexpr std::int64_t largest = 1'000'000'000;  // so that no product of two of them overflows
  const std::int64_t value = scalar<std::int64_t>(values, position, "an integer");
  if (value < 0 || value > largest) fail("expected an integer between 0 and ", largest, ", found ", value);
  return static_cast<Index>(value);
}
inline float float_at(const JsonValues& values, std::size_t position) {
  if (const auto* whole = position < values.size() ? std::get_if<std::int64_t>(&values[position]) : nullptr)
    return static_cast<float>(*whole);
  return static_cast<float>(scalar<double>(values, position, "a number"));
}
inline void expect_count(const JsonValues& values, std::size_t count) {
  if (values.size() != count) fail("expected ", count, " values, found ", values.size());
}

inline void from_json(const JsonValues& values, Index& value) {
  expect_count(values, 1);
  value = index_at(values, 0);
}
inline void from_json(const JsonValues& values, bool& value) {
  expect_count(values, 1);
  value = scalar<bool>(values, 0, "true or false");
}
inline void from_json(const JsonValues& values, float& value) {
  expect_count(values, 1);
  value = float_at(values, 0);
}
inline void from_json(const JsonValues& values, std::vector<float>& floats) {
  floats.clear();
  for (std::size_t i = 0; i < values.size(); ++i) floats.push_back(float_at(values, i));
}
inline void from_json(const JsonValues& values, std::vector<std::string>& texts) {
  texts.clear();
  for (std::size_t i = 0; i < values.size(); ++i) texts.push_back(scalar<std::string>(values, i, "texts"));
}
template <class Enum>
requires std::is_enum_v<Enum>
void enum_at(const JsonValues& values, std::size_t position, Enum& value) {
  const std::string& name = scalar<std::string>(values, position, "a name");
  const auto found = enum_from<Enum>(name);
  if (!found) fail("unknown value '", name, "'");
  value = *found;
}
template <class Enum>
requires std::is_enum_v<Enum>
void from_json(const JsonValues& values, Enum& value) {
  expect_count(values, 1);
  enum_at(values, 0, value);
}
inline void from_json(const JsonValues& values, Placement& placement) {
  placement = {};
  enum_at(values, 0, placement.rule);
  if (placement.rule != Placement::Rule::list) {
    expect_count(values, 2);
    placement.count = index_at(values, 1);
    if (placement.rule == Placement::Rule::every && placement.count == 0) fail("every(0) names no blocks");
    return;
  }
  placement.count = std::ssize(values) - 1;
  for (std::size_t i = 1; i < values.size(); ++i) {
    const Index block = index_at(values, i);
    if (block > 255) fail("block number ", block, ", the largest is 255");
    placement.listed[static_cast<std::size_t>(block / 64)] |= std::uint64_t{1} << (block % 64);
  }
}

template <class Preprocessing_, class Visit>
void for_each_preprocessing_field(Preprocessing_& preprocessing, Visit&& visit) {
  visit("height", preprocessing.height);
  visit("width", preprocessing.width);
  visit("channels", preprocessing.channels);
  visit("shorter_side", preprocessing.shorter_side);
  visit("interpolation", preprocessing.interpolation);
  visit("mean", preprocessing.mean);
  visit("deviation", preprocessing.deviation);
}

/// Writes every field that `visit_fields` shows into a JSON text.
template <class VisitFields>
std::string fields_to_text(VisitFields visit_fields) {
  Json json;
  visit_fields([&](const char* name, const auto& value) { json[name] = to_json(value); });
  return json.dump();
}

/// Reads exactly the fields that `visit_fields` shows; `where` names the text in errors.
template <class VisitFields>
void fields_from_text(const std::string& text, const std::string& where, VisitFields visit_fields) {
  std::string field;
  try {
    const FlatJson json = parse_flat_json(text);
    std::size_t known = 0;
    visit_fields([&](const char* name, auto& value) {
      field = std::string(", field '") + name + "'";
      const auto found = json.find(name);
      if (found == json.end()) fail("is missing");
      from_json(found->second, value);
      ++known;
    });
    field.clear();
    if (json.size() != known) fail("expected ", known, " fields, found ", json.size());
  } catch (const Error& error) {
    fail(where, field, ": ", error.what());
  }
}

/// Refuses preprocessing that no image can go through.
inline void check_preprocessing(const Preprocessing& preprocessing, const std::string& where) {
  const auto fits = [&](const std::vector<float>& values) {
    return values.size() == 1 || std::ssize(values) == preprocessing.channels;
  };
  if (preprocessing.height < 1 || preprocessing.width < 1 || preprocessing.channels < 1)
    fail(where, ": height, width and channels must be positive");
  if (!fits(preprocessing.mean) || !fits(preprocessing.deviation))
    fail(where, ": expected one mean and deviation, or one per channel");
  for (const float deviation : preprocessing.deviation)
    if (!(std::abs(deviation) > 0)) fail(where, ": a deviation must not be 0");
}

/// The text under a key that must be there and no longer than any sensible one.
inline const std::string& metadata_text(const TensorFile& file, const char* key, std::size_t limit) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) fail(file.path().string(), ": metadata '", key, "' is missing");
  if (found->second.size() > limit)
    fail(file.path().string(), ": metadata '", key, "' is longer than ", limit, " bytes");
  return found->second;
}

}  // namespace detail

/// The metadata that save() writes. Throws Error for class names that take too much room. Every field of the
/// configurations goes in, as JSON texts under keys that begin with "moevit.".
inline TensorFile::Metadata to_metadata(const ModelMetadata& model) {
  TensorFile::Metadata metadata;
  metadata["moevit.format"] = weights_format_version;
  metadata["moevit.family"] = enum_name(model.description.family);
  metadata["moevit.vit"] = detail::fields_to_text([&](auto visit) { for_each_field(model.description.vit, visit); });
  metadata["moevit.moe"] = detail::fields_to_text([&](auto visit) { for_each_field(model.description.moe, visit); });
  metadata["moevit.preprocessing"] =
      detail::fields_to_text([&](auto visit) { detail::for_each_preprocessing_field(model.preprocessing, visit); });
  metadata["moevit.class_names"] = detail::Json(model.class_names).dump();
  if (metadata["moevit.class_names"].size() > max_class_names_text)
    fail("class names: expected at most ", max_class_names_text, " bytes as JSON, found ",
         metadata["moevit.class_names"].size());
  return metadata;
}

/// Reads the metadata of a file written by save(); nothing when the file is not one of ours. Throws Error when it is,
/// but is of another format version or not complete.
inline std::optional<ModelMetadata> read_metadata(const TensorFile& file) {
  if (!file.metadata().contains("moevit.format")) return std::nullopt;
  const std::string path = file.path().string();
  constexpr std::size_t short_text = 64 * 1024, long_text = max_class_names_text;
  const std::string& version = detail::metadata_text(file, "moevit.format", short_text);
  if (version != weights_format_version)
    fail(path, ": weights format: expected version ", weights_format_version, ", found '", version, "'");
  ModelMetadata model;
  const auto family = enum_from<ModelFamily>(detail::metadata_text(file, "moevit.family", short_text));
  if (!family) fail(path, ": metadata 'moevit.family': unknown value '", file.metadata().at("moevit.family"), "'");
  model.description.family = *family;
  const auto read = [&](const char* key, auto visit_fields) {
    detail::fields_from_text(detail::metadata_text(file, key, short_text), path + ": metadata '" + key + "'",
                             visit_fields);
  };
  read("moevit.vit", [&](auto visit) { for_each_field(model.description.vit, visit); });
  read("moevit.moe", [&](auto visit) { for_each_field(model.description.moe, visit); });
  read("moevit.preprocessing", [&](auto visit) { detail::for_each_preprocessing_field(model.preprocessing, visit); });
  detail::check_preprocessing(model.preprocessing, path + ": metadata 'moevit.preprocessing'");
  const std::string& names = detail::metadata_text(file, "moevit.class_names", long_text);
  detail::fields_from_text(names, path + ": metadata 'moevit.class_names'",
                           [&](auto visit) { visit("", model.class_names); });
  return model;
}

/// Fields in which two descriptions differ, one line each: "vit.activation: expected moevit::Activation::relu, found
/// ...". Placements that name the same blocks are equal; the sparse part of a dense model means nothing.
inline std::vector<std::string> differences(const ModelDescription& expected, const ModelDescription& found) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& field, const auto& want, const auto& have) {
    lines.push_back(field + ": expected " + cpp_text(want) + ", found " + cpp_text(have));
  };
  if (expected.family != found.family) add("family", expected.family, found.family);
  const auto compare = [&](const std::string& part, const auto& want, const auto& have) {
    for_each_field(want, [&](std::string_view name, const auto& value) {
      for_each_field(have, [&](std::string_view other, const auto& theirs) {
        if constexpr (std::is_same_v<decltype(value), decltype(theirs)>)
          if (name == other && !(value == theirs)) add(part + std::string(name), value, theirs);
      });
    });
  };
  compare("vit.", expected.vit, found.vit);
  if (expected.family == ModelFamily::vit && found.family == ModelFamily::vit) return lines;
  MoeConfig have = found.moe;
  bool same_blocks = expected.vit.depth == found.vit.depth;
  for (Index block = 0; same_blocks && block < expected.vit.depth; ++block)
    same_blocks = expected.moe.placement.contains(block, expected.vit.depth) ==
                  have.placement.contains(block, expected.vit.depth);
  if (same_blocks) have.placement = expected.moe.placement;
  compare("moe.", expected.moe, have);
  return lines;
}

}  // namespace moevit
