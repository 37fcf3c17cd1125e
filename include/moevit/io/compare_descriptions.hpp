/// What two descriptions of models differ in.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/io/config_fields.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace moevit {
namespace detail {

struct FieldText {
  std::string name;
  std::string value;  // as C++ text
};

/// The fields of a configuration, in the order of their declaration.
template <class Config>
std::vector<FieldText> field_texts(const Config& config) {
  std::vector<FieldText> fields;
  for_each_field(config, [&](const char* name, const auto& value) { fields.push_back({name, cpp_text(value)}); });
  return fields;
}

inline void add_difference(const std::string& name, const std::string& expected, const std::string& found,
                           std::vector<std::string>& lines) {
  if (expected != found) lines.push_back(name + ": expected " + expected + ", found " + found);
}

/// A line for every field with another text. Values that are equal have the same text, and the other way round.
inline void add_differences(const char* part, const std::vector<FieldText>& expected,
                            const std::vector<FieldText>& found, std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    add_difference(part + expected[i].name, expected[i].value, found[i].value, lines);
}

}  // namespace detail

/// Fields in which two descriptions differ, one line each: "vit.activation: expected moevit::Activation::relu, found
/// ...". Placements that name the same blocks are equal; the sparse part of a dense model means nothing.
inline std::vector<std::string> differences(const ModelDescription& expected, const ModelDescription& found) {
  std::vector<std::string> lines;
  detail::add_difference("family", cpp_text(expected.family), cpp_text(found.family), lines);
  detail::add_differences("vit.", detail::field_texts(expected.vit), detail::field_texts(found.vit), lines);
  if (expected.is_swin() || found.is_swin())
    detail::add_differences("swin.", detail::field_texts(expected.swin), detail::field_texts(found.swin), lines);
  if (expected.is_cvt() || found.is_cvt())
    detail::add_differences("cvt.", detail::field_texts(expected.cvt), detail::field_texts(found.cvt), lines);
  if (expected.family == ModelFamily::vit && found.family == ModelFamily::vit) return lines;
  MoeConfig have = found.moe;
  const Index depth = expected.depth();
  bool same_blocks = depth == found.depth();
  for (Index block = 0; same_blocks && block < depth; ++block)
    same_blocks = expected.moe.placement.contains(block, depth) == have.placement.contains(block, depth);
  if (same_blocks) have.placement = expected.moe.placement;
  detail::add_differences("moe.", detail::field_texts(expected.moe), detail::field_texts(have), lines);
  return lines;
}

}  // namespace moevit
