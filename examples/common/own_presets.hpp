/// Small models for 32 x 32 pixels, and types for a user's own classes: see train_folder.sh.
#pragma once

#include <moevit/models/presets.hpp>

namespace examples {

/// Names that train_folder.sh takes: the library's presets, and small ones that learn from a few thousand images.
namespace own_presets {

using namespace moevit::presets;

inline constexpr moevit::VitConfig small{
    .image = 32, .patch = 4, .channels = 3, .dim = 96, .depth = 6, .heads = 4, .hidden = 192, .classes = 10};
inline constexpr moevit::ModelDescription small_vit{moevit::ModelFamily::vit, small, {}};
inline constexpr moevit::ModelDescription small_vmoe{
    moevit::ModelFamily::vmoe, small, {.experts = 8, .selected = 2, .placement = moevit::last_odd(2)}};
inline constexpr moevit::ModelDescription small_mobile_vmoe{
    moevit::ModelFamily::mobile_vmoe, small, {.experts = 5, .selected = 1, .placement = moevit::last(2)}};

}  // namespace own_presets

constexpr moevit::ModelDescription with_classes(moevit::ModelDescription model, moevit::Index classes) {
  model.vit.classes = classes;
  return model;
}

/// A preset with another number of classes. Its images are cut from the centre at their shorter side.
template <moevit::ModelDescription preset, moevit::Index classes>
struct OwnModelOf : moevit::Model<with_classes(preset, classes)> {
  OwnModelOf() {
    this->set_preprocessing({.height = preset.vit.height(),
                             .width = preset.vit.width(),
                             .channels = preset.vit.channels,
                             .shorter_side = preset.vit.height()});
  }
};

}  // namespace examples
