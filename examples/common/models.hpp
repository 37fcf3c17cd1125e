/// The model types that the programs here are compiled with. To use weights of another shape, add its type to
/// KnownModels: `inspect FILE` prints it.
#pragma once

#include "../mobile/models.hpp"
#include "data_sets.hpp"
#include "own_presets.hpp"

#include <moevit/moevit.hpp>

#include <tuple>
#include <type_traits>
#include <utility>

#ifdef MOEVIT_OWN_MODEL
#include MOEVIT_OWN_MODEL
#endif

namespace examples {

inline constexpr moevit::VitConfig fashion_vit{
    .image = 28, .patch = 4, .channels = 1, .dim = 64, .depth = 4, .heads = 4, .hidden = 128, .classes = 10};

/// The constructors say what images go through and what classes are called for files that do not say so themselves;
/// files written by moevit::save() do, and win.
struct FashionVMoe
    : moevit::VMoe<fashion_vit, moevit::MoeConfig{.experts = 8, .selected = 2, .placement = moevit::every(2)}> {
  FashionVMoe() {
    set_preprocessing(fashion_preprocessing);
    set_class_names(fashion_classes);
  }
};

struct FashionMobileVMoe
    : moevit::MobileVMoe<fashion_vit, moevit::MoeConfig{.experts = 5, .selected = 1, .placement = moevit::last(2)}> {
  FashionMobileVMoe() {
    set_preprocessing(fashion_preprocessing);
    set_class_names(fashion_classes);
  }
};

/// The models above, this one and all down to CifarVMoe4 are what `train` trains.
struct FashionVit : moevit::Vit<fashion_vit> {
  FashionVit() { set_preprocessing(fashion_preprocessing); }
};

struct CifarVit : moevit::Model<own_presets::small_vit> {
  CifarVit() { set_preprocessing(cifar_preprocessing); }
};
struct CifarVMoe : moevit::Model<own_presets::small_vmoe> {
  CifarVMoe() { set_preprocessing(cifar_preprocessing); }
};
struct CifarMobileVMoe : moevit::Model<own_presets::small_mobile_vmoe> {
  CifarMobileVMoe() { set_preprocessing(cifar_preprocessing); }
};

/// As the V-MoEs above, with gates that are renormalised, so that the experts that `upcycle` makes of a dense MLP
/// compute what it does.
struct FashionUpcycled
    : moevit::VMoe<fashion_vit,
                   moevit::MoeConfig{.experts = 8, .selected = 2, .placement = moevit::every(2), .renormalise = true}> {
  FashionUpcycled() { set_preprocessing(fashion_preprocessing); }
};
struct CifarUpcycled
    : moevit::VMoe<own_presets::small,
                   moevit::MoeConfig{
                       .experts = 8, .selected = 2, .placement = moevit::last_odd(2), .renormalise = true}> {
  CifarUpcycled() { set_preprocessing(cifar_preprocessing); }
};

/// For studies of the experts' capacity: four sparse blocks, 64 patches and a class token.
struct CifarVMoe4
    : moevit::VMoe<
          moevit::VitConfig{
              .image = 32, .patch = 4, .channels = 3, .dim = 64, .depth = 8, .heads = 4, .hidden = 128, .classes = 10},
          moevit::MoeConfig{.experts = 8, .selected = 2, .placement = moevit::every(2)}> {
  CifarVMoe4() { set_preprocessing(cifar_preprocessing); }
};

/// A dense ViT for MNIST with the names of lucidrains/vit-pytorch.
struct MnistVit : moevit::Vit<moevit::VitConfig{.image = 28,
                                                .patch = 4,
                                                .channels = 1,
                                                .dim = 64,
                                                .depth = 6,
                                                .heads = 4,
                                                .hidden = 128,
                                                .classes = 10,
                                                .head_width = 64,
                                                .activation = moevit::Activation::relu,
                                                .qkv_bias = false,
                                                .epsilon = 1e-5f}> {
  MnistVit() {
    set_preprocessing({.height = 28, .width = 28, .channels = 1, .mean = {0.1307f}, .deviation = {0.3081f}});
  }
};

/// DeiT-Ti/16 for ImageNet-1k as timm has it (deit_tiny_patch16_224).
struct DeitTiny : moevit::Vit<moevit::VitConfig{.image = 224,
                                                .patch = 16,
                                                .dim = 192,
                                                .depth = 12,
                                                .heads = 3,
                                                .hidden = 768,
                                                .activation = moevit::Activation::gelu_erf}> {
  DeitTiny() {
    set_preprocessing({.shorter_side = 248, .mean = {0.485f, 0.456f, 0.406f}, .deviation = {0.229f, 0.224f, 0.225f}});
  }
};

#ifdef MOEVIT_OWN_MODEL
/// What train_folder.sh wrote: the only model then, so that it compiles fast.
using KnownModels = std::tuple<OwnModel>;
#else
/// The models of the study of Mobile V-MoEs that are worth keeping, of the data sets that it is compiled for.
template <mobile::Images images>
using StudyModels = std::conditional_t<mobile::is_compiled(images),
                                       std::tuple<mobile::DenseVit<images>, mobile::UsualMoe<images> >, std::tuple<> >;

using KnownModels = decltype(std::tuple_cat(
    std::declval<std::tuple<FashionVMoe, FashionMobileVMoe, MnistVit, DeitTiny, FashionVit, CifarVit, CifarVMoe,
                            CifarMobileVMoe, FashionUpcycled, CifarUpcycled, CifarVMoe4> >(),
    std::declval<StudyModels<mobile::Images::fashion> >(), std::declval<StudyModels<mobile::Images::cifar> >(),
    std::declval<StudyModels<mobile::Images::tiny_imagenet> >()));
#endif

}  // namespace examples
