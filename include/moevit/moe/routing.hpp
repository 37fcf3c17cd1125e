/// The seam between routers and experts: what a router is asked, what it leaves behind, and the Router concept.
#pragma once

#include <moevit/core/workspace.hpp>
#include <moevit/moe/assign.hpp>
#include <moevit/moe/plan.hpp>
#include <moevit/moe/routing_options.hpp>

#include <concepts>
#include <span>

namespace moevit {

/// Where a router stands: one in every sparse block, or one for the whole model (Mobile V-MoE).
enum class RouterScope : unsigned char { block, model };

/// Dispatch and combine weights of a soft router. Rows of a group are its tokens; slots are ordered by expert, then
/// slot.
struct SoftPlan {
  Index groups = 0;
  Index group = 0;  ///< tokens per group
  Index experts = 0;
  Index slots = 0;                ///< per expert
  AlignedBuffer<float> dispatch;  ///< groups x (experts * slots) x group: each slot's weights over the tokens sum to 1
  AlignedBuffer<float> combine;   ///< groups x group x (experts * slots): each token's weights over the slots sum to 1

  /// The weights of a group's slots over its tokens, slots x tokens.
  ConstMatrixView dispatch_of(Index g) const {
    return {dispatch.data() + g * experts * slots * group, experts * slots, group};
  }
  /// The weights of a group's tokens over the slots, tokens x slots.
  ConstMatrixView combine_of(Index g) const {
    return {combine.data() + g * experts * slots * group, group, experts * slots};
  }
};

/// What a router left behind in the last forward pass: the plan, and the statistics it came from.
class Routing {
 public:
  SparsePlan plan;
  SoftPlan soft;
  AssignScratch scratch;

  /// Makes room for `rows` rows of `experts` logits and gates; allocates only when there were fewer before.
  void resize(Index rows, Index experts) {
    if (rows * experts > logits_.size()) {
      logits_ = AlignedBuffer<float>(rows * experts);
      gates_ = AlignedBuffer<float>(rows * experts);
    }
    rows_ = rows;
    experts_ = experts;
    noisy_rows_ = 0;
  }
  /// Makes room for noisy logits as well.
  void resize_noisy() {
    if (rows_ * experts_ > noisy_.size()) noisy_ = AlignedBuffer<float>(rows_ * experts_);
    noisy_rows_ = rows_;
  }

  Index rows() const { return rows_; }
  Index experts() const { return experts_; }
  /// Router logits without noise: tokens x experts (images x experts for a per-image router).
  MatrixView logits() { return {logits_.data(), rows_, experts_}; }
  ConstMatrixView logits() const { return {logits_.data(), rows_, experts_}; }
  /// Gates that the choices were made from (of noisy logits, if there was noise).
  MatrixView gates() { return {gates_.data(), rows_, experts_}; }
  ConstMatrixView gates() const { return {gates_.data(), rows_, experts_}; }
  /// Logits with noise; no rows if there was none.
  MatrixView noisy_logits() { return {noisy_.data(), noisy_rows_, experts_}; }
  ConstMatrixView noisy_logits() const { return {noisy_.data(), noisy_rows_, experts_}; }

 private:
  Index rows_ = 0;
  Index experts_ = 0;
  Index noisy_rows_ = 0;
  AlignedBuffer<float> logits_, gates_, noisy_;
};

/// A batch to be routed: images * copies * tokens_per_image rows of the model's width.
struct RouteRequest {
  ConstMatrixView tokens;
  Index images = 0;
  Index tokens_per_image = 0;
  Index copies = 1;  ///< of each image, one per member of an ensemble
  int block = 0;     ///< number of the block in the model, for messages, noise and ablations
  int depth = 0;     ///< blocks of the model
  const RoutingOptions& options;
  Workspace& workspace;

  /// Whether the gates of this block are to be random.
  bool wants_random() const { return options.random.contains(block, depth); }
  Index group() const { return tokens_per_group(options, images, tokens_per_image * copies); }
};

/// A router: `dim` and `experts` are its widths, `scope` says where it stands (RouterScope), and route(request,
/// routing) fills routing.plan (and the gates, for reports) from the tokens. It may also have `each_parameter` (see
/// layers/linear.hpp); `choices(options, images, tokens per image)`, where it keeps other than k per token; and, with
/// scope model, `scratch_bytes(images)`, what it takes from the shared arena; with scope block `route_scratch(rows)`,
/// if that is more than router_worker_bytes().
template <class R>
concept Router = requires(const R& router, const RouteRequest& request, Routing& routing) {
  { R::dim } -> std::convertible_to<Index>;
  { R::experts } -> std::convertible_to<Index>;
  { R::scope } -> std::convertible_to<RouterScope>;
  router.route(request, routing);
};

}  // namespace moevit
