/// Writes a model's description as C++, ready to paste.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/io/config_fields.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace moevit {

namespace detail {

/// ".image = 28, .patch = 4": the first `always` fields, and the others where they differ from the default.
template <class Config>
std::string designated_fields(const Config& config, std::size_t always) {
  std::string text;
  const Config defaults{};
  std::size_t position = 0;
  for_each_field(config, [&](std::string_view name, const auto& value) {
    bool shown = position++ < always;
    for_each_field(defaults, [&](std::string_view other, const auto& usual) {
      if constexpr (std::is_same_v<decltype(value), decltype(usual)>)
        shown = shown || (name == other && !(value == usual));
    });
    if (shown) text += (text.empty() ? "." : ", .") + std::string(name) + " = " + cpp_text(value);
  });
  return text;
}

}  // namespace detail

/// "moevit::VitConfig{.image = 28, ...}", fields in the order of their declaration.
inline std::string cpp_config(const VitConfig& config) {
  constexpr std::size_t basic = 8;  // up to classes
  return "moevit::VitConfig{" + detail::designated_fields(config, basic) + "}";
}

/// "moevit::MoeConfig{.experts = 8, ...}".
inline std::string cpp_config(const MoeConfig& config) {
  constexpr std::size_t basic = 3;  // up to placement
  return "moevit::MoeConfig{" + detail::designated_fields(config, basic) + "}";
}

/// "moevit::SwinConfig{.image = 224, ...}".
inline std::string cpp_config(const SwinConfig& config) {
  constexpr std::size_t basic = 9;  // up to classes
  return "moevit::SwinConfig{" + detail::designated_fields(config, basic) + "}";
}

/// "moevit::CvtConfig{.image = 224, ...}".
inline std::string cpp_config(const CvtConfig& config) {
  constexpr std::size_t basic = 5;  // up to heads
  return "moevit::CvtConfig{" + detail::designated_fields(config, basic) + "}";
}

/// The configuration of a model, of whichever family.
inline std::string cpp_config(const ModelDescription& model) {
  return model.is_swin() ? cpp_config(model.swin) : model.is_cvt() ? cpp_config(model.cvt) : cpp_config(model.vit);
}

/// The model type as C++ with `config` as its first argument; empty: the configuration is written out in its place.
/// A model of a user's own making has no name here: it comes out as the Vit, Swin or Cvt it is made from.
inline std::string cpp_type(const ModelDescription& model, std::string_view config = "") {
  const std::string first = config.empty() ? cpp_config(model) : std::string(config);
  switch (model.family) {
    case ModelFamily::vmoe:
      return "moevit::VMoe<" + first + ", " + cpp_config(model.moe) + ">";
    case ModelFamily::mobile_vmoe:
      return "moevit::MobileVMoe<" + first + ", " + cpp_config(model.moe) + ">";
    case ModelFamily::vit:
    case ModelFamily::custom:
    case ModelFamily::swin:
    case ModelFamily::cvt:
      break;
  }
  if (model.is_swin() || model.is_cvt())
    return (model.is_swin() ? "moevit::Swin<" : "moevit::Cvt<") + first +
           (model.moe.placement == no_blocks() ? "" : ", " + cpp_config(model.moe)) + ">";
  return "moevit::Vit<" + first + ">";
}

/// Two declarations ready to paste: the configuration and `struct Net`.
inline std::string cpp_declaration(const ModelDescription& model) {
  const std::string config = cpp_config(model);
  return "constexpr " + config.substr(0, config.find('{')) + " config" + config.substr(config.find('{')) +
         ";\nstruct Net : " + cpp_type(model, "config") + " {};\n";
}

}  // namespace moevit
