/// The model types of the Mobile V-MoE study: one shape per data set, and its sparse variants.
#pragma once

#include "../common/data_sets.hpp"

#include <moevit/moevit.hpp>

#include <initializer_list>

namespace examples::mobile {

/// A data set that the study knows the shape of.
enum class Images { fashion, cifar, tiny_imagenet };

// The build names those that it compiles models for, with commas.
#ifndef MOEVIT_STUDY_IMAGES
#define MOEVIT_STUDY_IMAGES
#endif
constexpr bool is_compiled(Images images) {
  for (const Images compiled : std::initializer_list<Images>{MOEVIT_STUDY_IMAGES})
    if (compiled == images) return true;
  return false;
}

// Narrow MLPs: with hidden layers of four times the width, five times as many hidden units are worth a point or less to
// the dense model at this size, of a quarter of the width four points, and only then have experts something to give.
// 16 tokens without a class token fill registers, which trains 1.7 times as fast as 17.
constexpr moevit::VitConfig shape_of(Images images) {
  moevit::VitConfig shape{.image = 32,
                          .patch = 8,
                          .channels = 3,
                          .dim = 32,
                          .depth = 4,
                          .heads = 2,
                          .hidden = 8,
                          .classes = 10,
                          .head = moevit::Head::mean};
  if (images == Images::fashion) shape.image = 28, shape.patch = 7, shape.channels = 1;
  if (images == Images::tiny_imagenet) shape.classes = 100;
  return shape;
}
template <Images images>
inline constexpr moevit::VitConfig shape = shape_of(images);

inline const moevit::Preprocessing& preprocessing_of(Images images) {
  if (images == Images::fashion) return fashion_preprocessing;
  return images == Images::cifar ? cifar_preprocessing : tiny_imagenet_preprocessing;
}

/// Tells a model what its images go through, and the names of classes that their files do not have.
template <class Net>
void describe_data(Images images, Net& net) {
  net.set_preprocessing(preprocessing_of(images));
  if (images == Images::fashion) net.set_class_names(fashion_classes);
}

template <Images images>
struct DenseVit : moevit::Vit<shape<images>> {
  DenseVit() { describe_data(images, *this); }
};

/// Weights of an image's experts: their gates, or their gates divided by the sum over the k chosen, which is 1 for k
/// = 1.
enum class Combine { gates, renormalised };

/// One router per image, k of E experts in the last L blocks.
template <Images images, moevit::Index experts, moevit::Index selected, moevit::Index layers, Combine combine>
struct PerImageMoe
    : moevit::MobileVMoe<shape<images>, moevit::MoeConfig{.experts = experts,
                                                          .selected = selected,
                                                          .placement = moevit::last(layers),
                                                          .renormalise = combine == Combine::renormalised}> {
  PerImageMoe() { describe_data(images, *this); }
};

/// The same with a router of patches in each of these blocks (V-MoE).
template <Images images, moevit::Index experts, moevit::Index selected, moevit::Index layers>
struct PerPatchMoe
    : moevit::VMoe<shape<images>,
                   moevit::MoeConfig{.experts = experts, .selected = selected, .placement = moevit::last(layers)}> {
  PerPatchMoe() { describe_data(images, *this); }
};

/// Experts of the main comparison, with k = 1 in the last two blocks.
constexpr moevit::Index usual_experts(Images images) {
  if (images == Images::fashion) return 3;
  return images == Images::cifar ? 5 : 10;
}

/// What train_mobile_vmoe makes when nothing else is asked for.
template <Images images>
using UsualMoe = PerImageMoe<images, usual_experts(images), 1, 2, Combine::renormalised>;

}  // namespace examples::mobile
