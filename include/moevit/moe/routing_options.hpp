/// What can be changed about routing at run time, on a loaded model.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/moe/capacity.hpp>

#include <cstdint>
#include <span>

namespace moevit {

/// Who gets a slot first when an expert is asked for more than it has.
enum class Priority : unsigned char {
  position,     ///< all first choices in token order, then all second choices, ... (V-MoE's fill order)
  max_gate,     ///< batch priority: the same with tokens in the order of their largest gate
  sum_of_gates  ///< batch priority by the sum of the k chosen gates
};

/// Where router noise comes from: standard normal values, so that training is reproducible and tests can inject them.
class NoiseSource {
 public:
  virtual ~NoiseSource() = default;
  /// Fills tokens x experts standard normal values for the block with this number.
  virtual void fill(int block, std::span<float> values) = 0;
};

/// Options of one context; net.context() sets them from the model's MoeConfig.
struct RoutingOptions {
  /// Slots per expert and group = ratio * tokens * k / experts, rounded. `unlimited`: nothing is dropped.
  double capacity_ratio = unlimited;
  /// Slots per expert and group, given directly; then capacity_ratio must be `unlimited`. 0: not given.
  Index capacity = 0;
  CapacityRounding capacity_rounding = CapacityRounding::ceil;
  Index capacity_multiple = 4;
  Priority priority = Priority::position;
  /// k: experts per token.
  Index selected = 1;
  /// Images that are routed together; capacity and priority work within such a group. 0: the whole batch.
  Index group_images = 0;
  /// Tokens that are routed together, if groups are not whole images. 0: group_images decides.
  Index group_tokens = 0;
  /// The k chosen gates of a token are divided by their sum.
  bool renormalise = false;
  /// false: every kept expert has weight 1.
  bool scale_by_gate = true;
  /// Training with scale_by_gate false: gradients are those of outputs weighted by the router's gates all the same, so
  /// that the router learns; the value is sum of stop_gradient((1 - g) E) + g E over a token's experts, g not
  /// renormalised. Source: Residual MoE (Wu et al. 2022), section 3.
  bool aligned_gradients = false;
  /// Tokens and expert outputs are rounded to bfloat16 on their way, as the authors' published models run.
  bool bf16_dispatch = false;
  /// Standard deviation of the noise on the logits, times the number of experts a token can choose from (V-MoE's
  /// noise_std); needs `noise`.
  double noise_std = 0;
  NoiseSource* noise = nullptr;
  /// Sparse blocks whose router is replaced by random gates, for ablations.
  Placement random = {};
  std::uint64_t seed = 0;  ///< of the random gates
  /// The expert of each image, with weight 1, in place of what a per-image router chooses, for ablations such as
  /// routing by the true super-class; needs k = 1. Empty: the router chooses. Routers of tokens ignore it.
  std::span<const std::int32_t> assigned = {};
};

/// Tokens per group for a batch. Throws Error when the batch is not a whole number of groups.
constexpr Index tokens_per_group(const RoutingOptions& options, Index images, Index tokens_per_image) {
  const Index tokens = images * tokens_per_image;
  const Index group = options.group_tokens   ? options.group_tokens
                      : options.group_images ? options.group_images * tokens_per_image
                                             : tokens;
  if (group < 1 || tokens % group != 0)
    fail("routing groups: expected a multiple of the group's ", group, " tokens, found ", tokens, " (", images,
         " images of ", tokens_per_image, " tokens)");
  return group;
}

/// Slots per expert for a group. `most` is the number that can never be exceeded: it stands for `unlimited`.
/// Throws Error when both a capacity and a ratio are given, or when the capacity is below 1.
constexpr Index resolve_capacity(const RoutingOptions& options, Index choices, Index experts, Index most) {
  const bool has_ratio = options.capacity_ratio != unlimited;
  if (options.capacity && has_ratio)
    fail("expert capacity: expected exactly one of capacity and capacity ratio, found ", options.capacity, " and ",
         options.capacity_ratio);
  if (options.capacity < 0) fail("expert capacity: expected at least 1 slot, found ", options.capacity);
  if (options.capacity) return options.capacity;
  if (!has_ratio) return most;
  return compute_capacity(choices, experts, options.capacity_ratio, options.capacity_rounding,
                          options.capacity_multiple);
}

/// The options that a configuration starts with. Expert choice and soft routing take every image for itself, as the
/// Soft MoE project does, and expert choice needs a capacity: one expert per token on average.
constexpr RoutingOptions routing_options(const MoeConfig& moe) {
  RoutingOptions options;
  const bool by_image = moe.router == RouterKind::expert_choice || moe.router == RouterKind::soft;
  if (moe.router == RouterKind::expert_choice) options.capacity_ratio = 1.0;
  if (by_image) options.group_images = 1;
  options.capacity_rounding = moe.capacity_rounding;
  options.capacity_multiple = moe.capacity_multiple;
  options.selected = moe.selected;
  options.renormalise = moe.renormalise;
  options.scale_by_gate = moe.scale_by_gate;
  options.bf16_dispatch = moe.bf16_dispatch;
  return options;
}

}  // namespace moevit
