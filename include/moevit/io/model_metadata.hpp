/// What a weights file of ours says besides weights: the model's configuration, its preprocessing, the names of its
/// classes.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/error.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/io/config_fields.hpp>
#include <moevit/io/flat_json.hpp>
#include <moevit/io/tensor_file.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
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

/// The value at a position, which must have the wanted kind.
inline const JsonScalar& scalar(const JsonValues& values, std::size_t position, JsonScalar::Kind kind,
                                const char* name) {
  if (position >= values.size() || values[position].kind != kind) fail("expected ", name);
  return values[position];
}
inline Index index_at(const JsonValues& values, std::size_t position) {
  constexpr std::int64_t largest = 1'000'000'000;  // so that no product of two of them overflows
  const std::int64_t value = scalar(values, position, JsonScalar::Kind::integer, "an integer").integer;
  if (value < 0 || value > largest) fail("expected an integer between 0 and ", largest, ", found ", value);
  return static_cast<Index>(value);
}
inline float float_at(const JsonValues& values, std::size_t position) {
  if (position < values.size() && values[position].kind == JsonScalar::Kind::integer)
    return static_cast<float>(values[position].integer);
  return static_cast<float>(scalar(values, position, JsonScalar::Kind::real, "a number").real);
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
  value = scalar(values, 0, JsonScalar::Kind::boolean, "true or false").boolean;
}
inline void from_json(const JsonValues& values, float& value) {
  expect_count(values, 1);
  value = float_at(values, 0);
}
template <std::size_t count>
void from_json(const JsonValues& values, std::array<Index, count>& list) {
  expect_count(values, count);
  for (std::size_t i = 0; i < count; ++i) list[i] = index_at(values, i);
}
template <std::size_t count>
void from_json(const JsonValues& values, std::array<float, count>& list) {
  expect_count(values, count);
  for (std::size_t i = 0; i < count; ++i) list[i] = float_at(values, i);
}
template <std::size_t count>
void from_json(const JsonValues& values, std::array<bool, count>& list) {
  expect_count(values, count);
  for (std::size_t i = 0; i < count; ++i)
    list[i] = scalar(values, i, JsonScalar::Kind::boolean, "true or false").boolean;
}
inline void from_json(const JsonValues& values, std::vector<float>& floats) {
  floats.clear();
  for (std::size_t i = 0; i < values.size(); ++i) floats.push_back(float_at(values, i));
}
inline void from_json(const JsonValues& values, std::vector<std::string>& texts) {
  texts.clear();
  for (std::size_t i = 0; i < values.size(); ++i)
    texts.push_back(scalar(values, i, JsonScalar::Kind::text, "texts").text);
}
template <class Enum>
requires std::is_enum_v<Enum>
void enum_at(const JsonValues& values, std::size_t position, Enum& value) {
  const std::string& name = scalar(values, position, JsonScalar::Kind::text, "a name").text;
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

/// Reads the fields of a JSON object, each of which must be there; `where` names the text in errors.
class FieldReader {
 public:
  FieldReader(const std::string& text, std::string where) : where_(std::move(where)) {
    try {
      json_ = parse_flat_json(text);
    } catch (const Error& error) {
      fail(where_, ": ", error.what());
    }
  }

  template <class T>
  void operator()(const char* name, T& value) {
    read(name, &value, [](const JsonValues& values, void* to) { from_json(values, *static_cast<T*>(to)); });
  }

  /// Refuses fields that nobody read.
  void finish() const {
    if (json_.size() != known_) fail(where_, ": expected ", known_, " fields, found ", json_.size());
  }

 private:
  void read(const char* name, void* value, void (*from)(const JsonValues&, void*)) {
    const auto found = json_.find(name);
    try {
      if (found == json_.end()) fail("is missing");
      from(found->second, value);
    } catch (const Error& error) {
      fail(where_, ", field '", name, "': ", error.what());
    }
    ++known_;
  }

  std::string where_;
  FlatJson json_;
  std::size_t known_ = 0;
};

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
  const auto reader = [&](const char* key, std::size_t limit) {
    return detail::FieldReader(detail::metadata_text(file, key, limit), path + ": metadata '" + key + "'");
  };
  detail::FieldReader vit = reader("moevit.vit", short_text);
  for_each_field(model.description.vit, vit);
  vit.finish();
  detail::FieldReader moe = reader("moevit.moe", short_text);
  for_each_field(model.description.moe, moe);
  moe.finish();
  if (*family == ModelFamily::swin || file.metadata().contains("moevit.swin")) {
    detail::FieldReader swin = reader("moevit.swin", short_text);
    for_each_field(model.description.swin, swin);
    swin.finish();
  }
  if (*family == ModelFamily::cvt || file.metadata().contains("moevit.cvt")) {
    detail::FieldReader cvt = reader("moevit.cvt", short_text);
    for_each_field(model.description.cvt, cvt);
    cvt.finish();
  }
  detail::FieldReader preprocessing = reader("moevit.preprocessing", short_text);
  detail::for_each_preprocessing_field(model.preprocessing, preprocessing);
  preprocessing.finish();
  detail::check_preprocessing(model.preprocessing, path + ": metadata 'moevit.preprocessing'");
  detail::FieldReader names = reader("moevit.class_names", long_text);
  names("", model.class_names);
  names.finish();
  return model;
}

}  // namespace moevit
