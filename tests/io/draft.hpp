/// Weights files in memory, also under the names of other libraries.
#pragma once

#include "catch.hpp"

#include <moevit/io/weights.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moevit::test {

/// A file in memory that can be changed before it is loaded.
struct Draft {
  std::map<std::string, std::pair<Shape, std::vector<float>>> tensors;
  std::string type = "F32";
  TensorFile::Metadata metadata;

  TensorFile file() const {
    auto storage = std::make_shared<std::vector<std::vector<std::byte>>>();
    std::vector<StoredTensor> list;
    for (const auto& [name, tensor] : tensors) {
      storage->push_back(encode(tensor.second));
      list.push_back({name, type, tensor.first, storage->back()});
    }
    return TensorFile("draft", storage, std::move(list), metadata);
  }

 private:
  template <class T>
  static std::vector<std::byte> bytes_of(const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    return {bytes.begin(), bytes.end()};
  }
  std::vector<std::byte> encode(const std::vector<float>& values) const {
    if (type == "F64") return bytes_of(std::vector<double>(values.begin(), values.end()));
    if (type == "I32") return bytes_of(std::vector<std::int32_t>(values.size(), 1));
    return bytes_of(values);
  }
};

/// The weights of a model under a foreign naming.
template <class Model>
Draft foreign_draft(const Model& model, const NameTable& table, const std::string& prefix = "") {
  Draft draft;
  const ModelDescription description = model.description();
  for (const ConstParameter& parameter : model.parameters()) {
    const auto slice = find_foreign(table, parameter.name, parameter.shape, description);
    INFO(parameter.name);
    REQUIRE(slice);
    auto& [shape, values] = draft.tensors[prefix + slice->name];
    shape = slice->shape;
    values.resize(static_cast<std::size_t>(element_count(shape)));
    std::vector<float> places(static_cast<std::size_t>(parameter.size()));  // exact: these tensors are small
    detail::gather([](Index i) { return static_cast<float>(i); }, *slice, places);
    const std::vector<float> ours = parameter.values();
    for (std::size_t i = 0; i < ours.size(); ++i) values[static_cast<std::size_t>(places[i])] = ours[i];
  }
  return draft;
}

}  // namespace moevit::test
