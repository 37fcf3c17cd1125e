/// The numbers that name a model: VitConfig, MoeConfig and which blocks are sparse.
#pragma once

#include <moevit/core/index.hpp>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

namespace moevit {

/// The nonlinearity of MLPs and experts.
enum class Activation : unsigned char {
  gelu_tanh,   ///< 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): flax, V-MoE
  gelu_erf,    ///< 0.5 x (1 + erf(x / sqrt 2)): timm, DeiT, Swin
  gelu_quick,  ///< x sigmoid(1.702 x): CvT, CLIP
  relu
};

/// What the classifier reads.
enum class Head : unsigned char {
  class_token,  ///< a learned token in front of the patches
  first_token,  ///< token 0, without a class token ("0" in V-MoE)
  mean,         ///< mean over the patch tokens ("gap")
  map           ///< multi-head attention pooling with a learned probe
};

/// How tokens learn their place in the image.
enum class Positions : unsigned char { learned, sincos2d, none };

/// Normalises queries and keys over the head width, before the scaling by 1/sqrt(head width).
enum class QkNorm : unsigned char { none, scale, scale_and_bias };

/// Where the last layer norm stands; they differ for the mean head only.
enum class FinalNorm : unsigned char { before_pooling, after_pooling };

/// A vision transformer. Widths are numbers of floats; 0 means "as usual" where a comment says what that is.
struct VitConfig {
  Index image = 224;  ///< height of the image in pixels; width too unless image_width is given
  Index patch = 16;   ///< height of a patch in pixels; width too unless patch_width is given
  Index channels = 3;
  Index dim = 192;
  Index depth = 12;
  Index heads = 3;
  Index hidden = 768;        ///< of the MLPs
  Index classes = 1000;      ///< 0: no classifier, features come out
  Index image_width = 0;     ///< 0: square
  Index patch_width = 0;     ///< 0: square
  Index head_width = 0;      ///< 0: dim / heads
  Index representation = 0;  ///< width of a tanh layer before the classifier ("pre_logits"); 0: none
  Head head = Head::class_token;
  bool unread_class_token = false;  ///< a class token that the mean head leaves out, as timm's global_pool="avg" has it
  Positions positions = Positions::learned;
  Activation activation = Activation::gelu_tanh;
  QkNorm qk_norm = QkNorm::none;
  FinalNorm final_norm = FinalNorm::before_pooling;
  bool layer_scale = false;
  bool qkv_bias = true;
  bool projection_bias = true;  ///< of the attention's output
  bool mlp_bias = true;
  float epsilon = 1e-6f;  ///< of every layer norm

  constexpr bool operator==(const VitConfig&) const = default;

  constexpr Index height() const { return image; }
  constexpr Index width() const { return image_width ? image_width : image; }
  constexpr Index patch_height() const { return patch; }
  constexpr Index patch_width_pixels() const { return patch_width ? patch_width : patch; }
  constexpr Index grid_rows() const { return height() / patch_height(); }
  constexpr Index grid_columns() const { return width() / patch_width_pixels(); }
  constexpr Index patches() const { return grid_rows() * grid_columns(); }
  constexpr Index patch_values() const { return patch_height() * patch_width_pixels() * channels; }
  constexpr Index image_values() const { return height() * width() * channels; }
  constexpr bool has_class_token() const { return head == Head::class_token || unread_class_token; }
  constexpr Index tokens() const { return patches() + (has_class_token() ? 1 : 0); }
  constexpr Index width_per_head() const { return head_width ? head_width : dim / heads; }
  constexpr Index attention_width() const { return heads * width_per_head(); }
  constexpr Index features() const { return representation ? representation : dim; }
  constexpr Index outputs() const { return classes ? classes : features(); }
};

/// Which blocks of a model are sparse: a rule that is resolved against the depth.
struct Placement {
  enum class Rule : unsigned char { none, every, last, last_odd, list };
  Rule rule = Rule::none;
  Index count = 0;
  std::array<std::uint64_t, 4> listed{};  ///< bit i of the list: block i

  constexpr bool operator==(const Placement&) const = default;

  /// Whether block `block` (from 0) of `depth` blocks is sparse.
  constexpr bool contains(Index block, Index depth) const {
    switch (rule) {
      case Rule::none:
        return false;
      case Rule::every:
        return (block + 1) % count == 0;
      case Rule::last:
        return block >= depth - count;
      case Rule::last_odd: {
        const Index last = depth % 2 == 0 ? depth - 1 : depth - 2;  // the last odd block
        return block % 2 == 1 && block > last - 2 * count;
      }
      case Rule::list:
        return (listed[static_cast<std::size_t>(block / 64)] >> (block % 64)) & 1u;
    }
    return false;
  }

  /// How many of `depth` blocks are sparse.
  constexpr Index sparse_blocks(Index depth) const {
    Index found = 0;
    for (Index block = 0; block < depth; ++block) found += contains(block, depth);
    return found;
  }

  /// The first sparse block, `depth` if there is none.
  constexpr Index first(Index depth) const {
    for (Index block = 0; block < depth; ++block)
      if (contains(block, depth)) return block;
    return depth;
  }

  /// Whether the sparse blocks are the last ones without a gap.
  constexpr bool is_contiguous_end(Index depth) const { return sparse_blocks(depth) == depth - first(depth); }
};

/// No block.
constexpr Placement no_blocks() { return {}; }
/// Blocks n-1, 2n-1, ... ("Every-n" of V-MoE).
constexpr Placement every(Index n) { return {Placement::Rule::every, n, {}}; }
/// The last n blocks.
constexpr Placement last(Index n) { return {Placement::Rule::last, n, {}}; }
/// The last n blocks with an odd number, counted from 0 ("Last-n" of V-MoE).
constexpr Placement last_odd(Index n) { return {Placement::Rule::last_odd, n, {}}; }
/// Exactly these blocks, counted from 0, at most 255.
constexpr Placement blocks(std::span<const Index> list) {
  Placement placement{Placement::Rule::list, static_cast<Index>(list.size()), {}};
  for (Index block : list) placement.listed[static_cast<std::size_t>(block / 64)] |= std::uint64_t{1} << (block % 64);
  return placement;
}
constexpr Placement blocks(std::initializer_list<Index> list) {
  return blocks(std::span<const Index>(list.begin(), list.size()));
}

/// How gates become a plan.
enum class RouterKind : unsigned char {
  top_k,          ///< each token takes its k best experts (V-MoE)
  expert_choice,  ///< each expert takes its C best tokens (Zhou et al. 2022)
  soft,           ///< slots are mixtures of all tokens (Soft MoE, Puigcerver et al. 2023)
  random,         ///< k experts drawn by a hash of the token, for ablations
  cosine          ///< as top_k, with scores by angles and a learned temperature (Swin-MoE)
};

/// Width that a cosine router projects tokens to.
inline constexpr Index cosine_router_width = 256;

/// How a capacity ratio becomes a number of slots.
enum class CapacityRounding : unsigned char { ceil, round };

/// What the router of a Mobile V-MoE reads of an image.
enum class RouterInput : unsigned char { mean, first_token };

/// The sparse part of a model.
struct MoeConfig {
  Index experts = 8;
  Index selected = 1;  ///< k
  Placement placement = last_odd(2);
  RouterKind router = RouterKind::top_k;
  Index hidden = 0;                              ///< of an expert; 0: as the dense MLPs
  bool renormalise = false;                      ///< the k chosen gates of a token are divided by their sum
  bool scale_by_gate = true;                     ///< false: every chosen expert has weight 1
  Index slots = 1;                               ///< P, slots per expert of the soft router
  Index members = 1;                             ///< M, members of an efficient ensemble (E3); 1: none
  RouterInput router_input = RouterInput::mean;  ///< Mobile V-MoE only
  CapacityRounding capacity_rounding = CapacityRounding::ceil;  ///< the code's way; round is the paper's
  Index capacity_multiple = 4;                                  ///< 1: the capacity stays as rounded
  bool bf16_dispatch =
      false;  ///< tokens and expert outputs are rounded to bfloat16 on the way, as in the published models

  constexpr bool operator==(const MoeConfig&) const = default;

  /// Hidden width of the experts where a dense block's MLP has `dense_hidden`.
  constexpr Index expert_hidden(Index dense_hidden) const { return hidden ? hidden : dense_hidden; }
  constexpr Index expert_hidden(const VitConfig& vit) const { return expert_hidden(vit.hidden); }
};

}  // namespace moevit
