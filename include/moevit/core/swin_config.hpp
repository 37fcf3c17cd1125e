/// The numbers that name a Swin transformer.
#pragma once

#include <moevit/core/map_classifier.hpp>
#include <moevit/core/map_size.hpp>

#include <algorithm>
#include <array>

namespace moevit {

/// Most stages of a hierarchical model.
inline constexpr std::size_t most_stages = 4;

/// What becomes of windows on maps that are smaller, or no multiple of them.
enum class WindowForm : unsigned char {
  shrink,  ///< a window that is not smaller than its map becomes the map's smaller side and is never shifted:
           ///< classifiers
  pad      ///< maps are padded to whole windows and odd blocks are always shifted: backbones for images of any size
};

/// A Swin transformer (Liu et al. 2021): stage i has maps of 1 / (patch 2^i) of the image's sides and width dim 2^i.
/// Maps with odd sides are padded by one place before they are merged.
struct SwinConfig {
  Index image = 224;  ///< height of the image in pixels; width too unless image_width is given
  Index patch = 4;    ///< side of a patch in pixels
  Index channels = 3;
  Index dim = 96;                                     ///< of the first stage
  std::array<Index, most_stages> depths{2, 2, 6, 2};  ///< blocks per stage; the stages from the first 0 on are absent
  std::array<Index, most_stages> heads{3, 6, 12, 24};
  Index window = 7;
  float mlp_ratio = 4.f;  ///< hidden width of MLPs / width
  Index classes = 1000;   ///< 0: no classifier, features come out
  Index image_width = 0;  ///< 0: square
  WindowForm form = WindowForm::shrink;
  /// Stages whose maps have a norm of their own, as dense heads read them. A model with any has no classifier.
  std::array<bool, most_stages> output_norms{};
  bool absolute_positions = false;  ///< a learned table for the configured size of images
  bool patch_norm = true;           ///< behind the patch projection
  bool qkv_bias = true;
  bool mlp_output_bias = true;  ///< false: the second layers of MLPs and experts have none, as in Swin-MoE
  Activation activation = Activation::gelu_erf;
  float epsilon = 1e-5f;  ///< of every layer norm

  constexpr bool operator==(const SwinConfig&) const = default;

  constexpr Index height() const { return image; }
  constexpr Index width() const { return image_width ? image_width : image; }
  constexpr MapSize image_size() const { return {height(), width()}; }
  constexpr Index image_values() const { return height() * width() * channels; }
  constexpr Index stages() const { return std::find(depths.begin(), depths.end(), Index{0}) - depths.begin(); }
  constexpr Index depth(Index stage) const { return depths[static_cast<std::size_t>(stage)]; }
  /// Blocks before a stage; blocks(stages()) are all.
  constexpr Index first_block(Index stage) const {
    Index count = 0;
    for (Index i = 0; i < stage; ++i) count += depth(i);
    return count;
  }
  constexpr Index blocks() const { return first_block(stages()); }
  constexpr Index stage_dim(Index stage) const { return dim << stage; }
  constexpr Index stage_heads(Index stage) const { return heads[static_cast<std::size_t>(stage)]; }
  constexpr Index hidden(Index stage) const {
    return static_cast<Index>(static_cast<float>(stage_dim(stage)) * mlp_ratio);
  }
  /// The map of a stage for images of the configured size.
  constexpr MapSize map(Index stage) const {
    return image_size().in_cells(patch, patch).in_cells(Index{1} << stage, Index{1} << stage);
  }
  constexpr Index stage_window(Index stage) const {
    const Index side = std::min(map(stage).height, map(stage).width);
    return form == WindowForm::shrink ? std::min(window, side) : window;
  }
  /// Of the windows of odd blocks.
  constexpr Index stage_shift(Index stage) const {
    const Index side = std::min(map(stage).height, map(stage).width);
    return form == WindowForm::shrink && side <= window ? 0 : window / 2;
  }
  constexpr bool has_output_norms() const {
    return std::find(output_norms.begin(), output_norms.end(), true) != output_norms.end();
  }
  constexpr Index features() const { return stage_dim(stages() - 1); }
  constexpr Index outputs() const { return classes ? classes : features(); }

  /// Final norm, mean over the places of the last map, classifier.
  constexpr VitConfig classifier_head() const {
    VitConfig head = map_classifier(map(stages() - 1), features());
    head.classes = classes;
    head.activation = activation;
    head.epsilon = epsilon;
    return head;
  }
};

}  // namespace moevit
