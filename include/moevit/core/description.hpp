/// A model's type as a value: what files carry in their metadata and what `inspect` prints.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/core/cvt_config.hpp>
#include <moevit/core/swin_config.hpp>

namespace moevit {

/// Which model template.
enum class ModelFamily : unsigned char { vit, vmoe, mobile_vmoe, custom, swin, cvt };

/// Which model template with which numbers. `moe` means nothing for ModelFamily::vit, `swin` and `cvt` for others than
/// these, which in turn have no use for `vit`; dense ones have an empty placement.
struct ModelDescription {
  ModelFamily family = ModelFamily::vit;
  VitConfig vit = {};
  MoeConfig moe = {};
  SwinConfig swin = {};
  CvtConfig cvt = {};

  constexpr bool operator==(const ModelDescription&) const = default;

  /// Whether it is a Swin transformer, also one of a user's own making.
  constexpr bool is_swin() const {
    return family == ModelFamily::swin || (family == ModelFamily::custom && swin != SwinConfig{});
  }
  /// The same for CvT.
  constexpr bool is_cvt() const {
    return family == ModelFamily::cvt || (family == ModelFamily::custom && cvt != CvtConfig{});
  }
  /// Blocks, which the placement counts.
  constexpr Index depth() const { return is_swin() ? swin.blocks() : is_cvt() ? cvt.blocks() : vit.depth; }
  constexpr Index height() const { return is_swin() ? swin.height() : is_cvt() ? cvt.height() : vit.height(); }
  constexpr Index width() const { return is_swin() ? swin.width() : is_cvt() ? cvt.width() : vit.width(); }
};

}  // namespace moevit
