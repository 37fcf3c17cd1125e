/// The fields of the configurations by name: one list for metadata, comparison and printing.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/core/description.hpp>
#include <moevit/core/preprocessing.hpp>

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace moevit {

/// Calls visit(name, member) for every field of a VitConfig, in the order of their declaration.
template <class Config, class Visit>
requires std::same_as<std::remove_const_t<Config>, VitConfig>
constexpr void for_each_field(Config& config, Visit&& visit) {
  visit("image", config.image);
  visit("patch", config.patch);
  visit("channels", config.channels);
  visit("dim", config.dim);
  visit("depth", config.depth);
  visit("heads", config.heads);
  visit("hidden", config.hidden);
  visit("classes", config.classes);
  visit("image_width", config.image_width);
  visit("patch_width", config.patch_width);
  visit("head_width", config.head_width);
  visit("representation", config.representation);
  visit("head", config.head);
  visit("unread_class_token", config.unread_class_token);
  visit("positions", config.positions);
  visit("activation", config.activation);
  visit("qk_norm", config.qk_norm);
  visit("final_norm", config.final_norm);
  visit("layer_scale", config.layer_scale);
  visit("qkv_bias", config.qkv_bias);
  visit("projection_bias", config.projection_bias);
  visit("mlp_bias", config.mlp_bias);
  visit("epsilon", config.epsilon);
}

/// The same for a MoeConfig.
template <class Config, class Visit>
requires std::same_as<std::remove_const_t<Config>, MoeConfig>
constexpr void for_each_field(Config& config, Visit&& visit) {
  visit("experts", config.experts);
  visit("selected", config.selected);
  visit("placement", config.placement);
  visit("router", config.router);
  visit("hidden", config.hidden);
  visit("renormalise", config.renormalise);
  visit("scale_by_gate", config.scale_by_gate);
  visit("slots", config.slots);
  visit("members", config.members);
  visit("router_input", config.router_input);
  visit("capacity_rounding", config.capacity_rounding);
  visit("capacity_multiple", config.capacity_multiple);
  visit("bf16_dispatch", config.bf16_dispatch);
}

/// The same for a SwinConfig.
template <class Config, class Visit>
requires std::same_as<std::remove_const_t<Config>, SwinConfig>
constexpr void for_each_field(Config& config, Visit&& visit) {
  visit("image", config.image);
  visit("patch", config.patch);
  visit("channels", config.channels);
  visit("dim", config.dim);
  visit("depths", config.depths);
  visit("heads", config.heads);
  visit("window", config.window);
  visit("mlp_ratio", config.mlp_ratio);
  visit("classes", config.classes);
  visit("image_width", config.image_width);
  visit("form", config.form);
  visit("output_norms", config.output_norms);
  visit("absolute_positions", config.absolute_positions);
  visit("patch_norm", config.patch_norm);
  visit("qkv_bias", config.qkv_bias);
  visit("mlp_output_bias", config.mlp_output_bias);
  visit("activation", config.activation);
  visit("epsilon", config.epsilon);
}

/// The same for a CvtConfig.
template <class Config, class Visit>
requires std::same_as<std::remove_const_t<Config>, CvtConfig>
constexpr void for_each_field(Config& config, Visit&& visit) {
  visit("image", config.image);
  visit("channels", config.channels);
  visit("depths", config.depths);
  visit("dims", config.dims);
  visit("heads", config.heads);
  visit("patches", config.patches);
  visit("patch_strides", config.patch_strides);
  visit("patch_paddings", config.patch_paddings);
  visit("kernels", config.kernels);
  visit("query_paddings", config.query_paddings);
  visit("key_value_strides", config.key_value_strides);
  visit("key_value_paddings", config.key_value_paddings);
  visit("mlp_ratios", config.mlp_ratios);
  visit("classes", config.classes);
  visit("image_width", config.image_width);
  visit("class_token", config.class_token);
  visit("qkv_bias", config.qkv_bias);
  visit("batch_statistics", config.batch_statistics);
  visit("activation", config.activation);
  visit("epsilon", config.epsilon);
  visit("batch_epsilon", config.batch_epsilon);
}

/// C++ name of an enumeration and of its values, which are 0, 1, 2, ...
template <class Enum>
struct EnumNames;

template <>
struct EnumNames<Activation> {
  static constexpr std::string_view type = "Activation";
  static constexpr std::array<std::string_view, 4> values{"gelu_tanh", "gelu_erf", "gelu_quick", "relu"};
};
template <>
struct EnumNames<Head> {
  static constexpr std::string_view type = "Head";
  static constexpr std::array<std::string_view, 4> values{"class_token", "first_token", "mean", "map"};
};
template <>
struct EnumNames<Positions> {
  static constexpr std::string_view type = "Positions";
  static constexpr std::array<std::string_view, 3> values{"learned", "sincos2d", "none"};
};
template <>
struct EnumNames<QkNorm> {
  static constexpr std::string_view type = "QkNorm";
  static constexpr std::array<std::string_view, 3> values{"none", "scale", "scale_and_bias"};
};
template <>
struct EnumNames<FinalNorm> {
  static constexpr std::string_view type = "FinalNorm";
  static constexpr std::array<std::string_view, 2> values{"before_pooling", "after_pooling"};
};
template <>
struct EnumNames<RouterKind> {
  static constexpr std::string_view type = "RouterKind";
  static constexpr std::array<std::string_view, 5> values{"top_k", "expert_choice", "soft", "random", "cosine"};
};
template <>
struct EnumNames<WindowForm> {
  static constexpr std::string_view type = "WindowForm";
  static constexpr std::array<std::string_view, 2> values{"shrink", "pad"};
};
template <>
struct EnumNames<CapacityRounding> {
  static constexpr std::string_view type = "CapacityRounding";
  static constexpr std::array<std::string_view, 2> values{"ceil", "round"};
};
template <>
struct EnumNames<RouterInput> {
  static constexpr std::string_view type = "RouterInput";
  static constexpr std::array<std::string_view, 2> values{"mean", "first_token"};
};
template <>
struct EnumNames<Placement::Rule> {
  static constexpr std::string_view type = "Placement::Rule";
  static constexpr std::array<std::string_view, 5> values{"none", "every", "last", "last_odd", "list"};
};
template <>
struct EnumNames<ModelFamily> {
  static constexpr std::string_view type = "ModelFamily";
  static constexpr std::array<std::string_view, 6> values{"vit", "vmoe", "mobile_vmoe", "custom", "swin", "cvt"};
};
template <>
struct EnumNames<Interpolation> {
  static constexpr std::string_view type = "Interpolation";
  static constexpr std::array<std::string_view, 2> values{"bilinear", "bicubic"};
};

template <class Enum>
constexpr std::string_view enum_name(Enum value) {
  return EnumNames<Enum>::values.at(static_cast<std::size_t>(value));
}

/// The value of that name, if there is one.
template <class Enum>
constexpr std::optional<Enum> enum_from(std::string_view name) {
  for (std::size_t i = 0; i < EnumNames<Enum>::values.size(); ++i)
    if (EnumNames<Enum>::values[i] == name) return static_cast<Enum>(i);
  return std::nullopt;
}

inline std::string cpp_text(Index value) { return std::to_string(value); }
inline std::string cpp_text(bool value) { return value ? "true" : "false"; }
/// Shortest text that reads as the same float.
inline std::string cpp_text(float value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  std::string result(text.data(), end);
  if (result.find_first_of(".e") == std::string::npos) result += ".0";
  return result + "f";
}
template <class Enum>
requires std::is_enum_v<Enum> std::string cpp_text(Enum value) {
  return "moevit::" + std::string(EnumNames<Enum>::type) + "::" + std::string(enum_name(value));
}
template <class T, std::size_t count>
std::string cpp_text(const std::array<T, count>& values) {
  std::string list;
  for (const T& value : values) list += (list.empty() ? "" : ", ") + cpp_text(value);
  return "{" + list + "}";
}
inline std::string cpp_text(const Placement& placement) {
  const std::string count = std::string("(").append(std::to_string(placement.count)).append(")");
  switch (placement.rule) {
    case Placement::Rule::none:
      return "moevit::no_blocks()";
    case Placement::Rule::every:
      return "moevit::every" + count;
    case Placement::Rule::last:
      return "moevit::last" + count;
    case Placement::Rule::last_odd:
      return "moevit::last_odd" + count;
    case Placement::Rule::list:
      break;
  }
  std::string list;
  for (Index block = 0; block < 256; ++block)
    if (placement.contains(block, 256)) list += (list.empty() ? "" : ", ") + std::to_string(block);
  return "moevit::blocks({" + list + "})";
}

}  // namespace moevit
