/// The numbers that name a CvT.
#pragma once

#include <moevit/core/convolution_window.hpp>
#include <moevit/core/map_classifier.hpp>
#include <moevit/core/swin_config.hpp>

#include <algorithm>
#include <array>

namespace moevit {

/// A convolutional vision transformer (Wu et al. 2021). Arrays have one number per stage; the stages from the first
/// depth of 0 on are absent. The class token, if there is one, is only in the last stage.
struct CvtConfig {
  using PerStage = std::array<Index, most_stages>;

  Index image = 224;  ///< height of the image in pixels; width too unless image_width is given
  Index channels = 3;
  PerStage depths{1, 2, 10, 0};  ///< blocks
  PerStage dims{64, 192, 384, 0};
  PerStage heads{1, 3, 6, 0};
  PerStage patches{7, 3, 3, 0};  ///< sides of the windows of the embeddings, which may overlap
  PerStage patch_strides{4, 2, 2, 0};
  PerStage patch_paddings{2, 1, 1, 0};
  PerStage kernels{3, 3, 3, 3};  ///< of the convolutions before queries, keys and values
  PerStage query_paddings{1, 1, 1, 1};
  PerStage key_value_strides{2, 2, 2, 2};
  PerStage key_value_paddings{1, 1, 1, 1};
  std::array<float, most_stages> mlp_ratios{4.f, 4.f, 4.f, 4.f};  ///< hidden width of MLPs / width
  Index classes = 1000;                                           ///< 0: no classifier, features come out
  Index image_width = 0;                                          ///< 0: square
  bool class_token = true;  ///< what the classifier reads; false: the mean over the places of the last map
  bool qkv_bias = true;
  bool batch_statistics = true;  ///< in training passes; false: the running ones, which stay as they are
  Activation activation = Activation::gelu_quick;
  float epsilon = 1e-5f;        ///< of every layer norm
  float batch_epsilon = 1e-5f;  ///< of every batch norm

  constexpr bool operator==(const CvtConfig&) const = default;

  static constexpr Index of(const PerStage& numbers, Index stage) { return numbers[static_cast<std::size_t>(stage)]; }
  constexpr Index height() const { return image; }
  constexpr Index width() const { return image_width ? image_width : image; }
  constexpr MapSize image_size() const { return {height(), width()}; }
  constexpr Index image_values() const { return height() * width() * channels; }
  constexpr Index stages() const { return std::find(depths.begin(), depths.end(), Index{0}) - depths.begin(); }
  constexpr Index depth(Index stage) const { return of(depths, stage); }
  /// Blocks before a stage; first_block(stages()) are all.
  constexpr Index first_block(Index stage) const {
    Index count = 0;
    for (Index i = 0; i < stage; ++i) count += depth(i);
    return count;
  }
  constexpr Index blocks() const { return first_block(stages()); }
  constexpr Index stage_dim(Index stage) const { return of(dims, stage); }
  /// Channels that the embedding of a stage reads.
  constexpr Index input_dim(Index stage) const { return stage == 0 ? channels : stage_dim(stage - 1); }
  constexpr Index hidden(Index stage) const {
    return static_cast<Index>(static_cast<float>(stage_dim(stage)) * mlp_ratios[static_cast<std::size_t>(stage)]);
  }
  constexpr Index class_tokens(Index stage) const { return class_token && stage + 1 == stages() ? 1 : 0; }
  constexpr ConvolutionWindow embedding_window(Index stage) const {
    return {of(patches, stage), of(patch_strides, stage), of(patch_paddings, stage)};
  }
  /// The map of a stage for images of the configured size.
  constexpr MapSize map(Index stage) const {
    MapSize size = image_size();
    for (Index i = 0; i <= stage; ++i) size = embedding_window(i).result_size(size);
    return size;
  }
  constexpr Index features() const { return stage_dim(stages() - 1); }
  constexpr Index outputs() const { return classes ? classes : features(); }

  /// Final norm, class token or mean over the places of the last map, classifier.
  constexpr VitConfig classifier_head() const {
    VitConfig head = map_classifier(map(stages() - 1), features());
    head.classes = classes;
    if (class_token) head.head = Head::class_token;
    head.activation = activation;
    head.epsilon = epsilon;
    return head;
  }
};

}  // namespace moevit
