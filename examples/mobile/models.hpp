/// The model types of the Mobile V-MoE study: one shape per data set, and its sparse variants.
#pragma once

#include <moevit/moevit.hpp>

namespace examples::mobile {

/// A data set that the study knows the shape of.
enum class Images { fashion, cifar, tiny_imagenet };

template <Images images>
inline constexpr moevit::VitConfig shape;
template <>
inline constexpr moevit::VitConfig shape<Images::fashion>{
    .image = 28, .patch = 4, .channels = 1, .dim = 64, .depth = 4, .heads = 4, .hidden = 128, .classes = 10};
template <>
inline constexpr moevit::VitConfig shape<Images::cifar>{
    .image = 32, .patch = 8, .channels = 3, .dim = 32, .depth = 4, .heads = 4, .hidden = 128, .classes = 10};
template <>
inline constexpr moevit::VitConfig shape<Images::tiny_imagenet>{
    .image = 32, .patch = 8, .channels = 3, .dim = 32, .depth = 4, .heads = 4, .hidden = 128, .classes = 100};

/// Means and deviations of the training images, from 0 to 1.
template <Images images>
moevit::Preprocessing preprocessing() {
  constexpr moevit::VitConfig vit = shape<images>;
  moevit::Preprocessing result{.height = vit.height(), .width = vit.width(), .channels = vit.channels};
  if constexpr (images == Images::fashion)
    result.mean = {0.2860f}, result.deviation = {0.3530f};
  else if constexpr (images == Images::cifar)
    result.mean = {0.4914f, 0.4822f, 0.4465f}, result.deviation = {0.2470f, 0.2435f, 0.2616f};
  else
    result.mean = {0.4802f, 0.4481f, 0.3975f}, result.deviation = {0.2770f, 0.2691f, 0.2821f};
  return result;
}

template <Images images>
struct DenseVit : moevit::Vit<shape<images>> {
  DenseVit() { this->set_preprocessing(preprocessing<images>()); }
};

/// One router per image, k of E experts in the last L blocks.
template <Images images, moevit::Index experts, moevit::Index selected, moevit::Index layers>
struct PerImageMoe
    : moevit::MobileVMoe<shape<images>, moevit::MoeConfig{.experts = experts,
                                                          .selected = selected,
                                                          .placement = moevit::last(layers)}> {
  PerImageMoe() { this->set_preprocessing(preprocessing<images>()); }
};

/// The same with a router of patches in each of these blocks (V-MoE).
template <Images images, moevit::Index experts, moevit::Index selected, moevit::Index layers>
struct PerPatchMoe
    : moevit::VMoe<shape<images>, moevit::MoeConfig{.experts = experts,
                                                    .selected = selected,
                                                    .placement = moevit::last(layers)}> {
  PerPatchMoe() { this->set_preprocessing(preprocessing<images>()); }
};

}  // namespace examples::mobile
