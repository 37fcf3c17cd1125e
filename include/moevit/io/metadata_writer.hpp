/// Writes what model_metadata.hpp reads. All of it are templates, although Json is always the same type, so that
/// programs that only load do not compile them.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/config_fields.hpp>
#include <moevit/io/model_metadata.hpp>
#include <moevit/io/tensor_file.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <type_traits>
#include <vector>

namespace moevit {
namespace detail {

template <class Json, class T>
Json to_json(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return std::string(enum_name(value));
  } else if constexpr (std::is_same_v<T, float>) {
    return static_cast<double>(value);
  } else if constexpr (std::is_same_v<T, std::vector<float>>) {
    Json list = Json::array();
    for (const float element : value) list.push_back(to_json<Json>(element));
    return list;
  } else if constexpr (std::is_same_v<T, Placement>) {  // ["last_odd", 2], or ["list", 1, 3] with the blocks' numbers
    Json json = Json::array();
    json.push_back(to_json<Json>(value.rule));
    if (value.rule != Placement::Rule::list) json.push_back(value.count);
    for (Index block = 0; value.rule == Placement::Rule::list && block < 256; ++block)
      if (value.contains(block, 256)) json.push_back(block);
    return json;
  } else {
    return value;
  }
}

/// Collects fields in a JSON object.
template <class Json>
struct FieldWriter {
  Json json;

  template <class T>
  void operator()(const char* name, const T& value) {
    json[name] = to_json<Json>(value);
  }
};

}  // namespace detail

/// The metadata that save() writes. Throws Error for class names that take too much room. Every field of the
/// configurations goes in, as JSON texts under keys that begin with "moevit.".
template <class Json = nlohmann::ordered_json>
TensorFile::Metadata to_metadata(const ModelMetadata& model) {
  detail::FieldWriter<Json> vit, moe, swin, cvt, preprocessing;
  for_each_field(model.description.vit, vit);
  for_each_field(model.description.moe, moe);
  for_each_field(model.description.swin, swin);
  for_each_field(model.description.cvt, cvt);
  detail::for_each_preprocessing_field(model.preprocessing, preprocessing);
  TensorFile::Metadata metadata;
  metadata["moevit.format"] = weights_format_version;
  metadata["moevit.family"] = enum_name(model.description.family);
  metadata["moevit.vit"] = vit.json.dump();
  metadata["moevit.moe"] = moe.json.dump();
  if (model.description.is_swin()) metadata["moevit.swin"] = swin.json.dump();
  if (model.description.is_cvt()) metadata["moevit.cvt"] = cvt.json.dump();
  metadata["moevit.preprocessing"] = preprocessing.json.dump();
  std::string& names = metadata["moevit.class_names"] = Json(model.class_names).dump();
  if (names.size() > max_class_names_text)
    fail("class names: expected at most ", max_class_names_text, " bytes as JSON, found ", names.size());
  return metadata;
}

}  // namespace moevit
