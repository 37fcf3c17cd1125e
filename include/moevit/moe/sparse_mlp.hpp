/// The sparse part of a block: a router and a bank of experts, joined by a plan.
#pragma once

#include <moevit/moe/context.hpp>
#include <moevit/moe/dispatch_gradient.hpp>
#include <moevit/moe/gates.hpp>
#include <moevit/moe/router_gradient.hpp>

namespace moevit {

/// The input of a block's MLP or experts, and where its output is added.
struct BlockRows {
  ConstMatrixView x;             ///< normalised tokens, (images * copies * tokens_per_image) x D
  MatrixView stream;             ///< residual stream, += scale * output
  const float* scale = nullptr;  ///< layer scale, or null
  Index images = 0;
  Index tokens_per_image = 0;
  Index copies = 1;  ///< of each image, one per member of an ensemble
  int block = 0;
  ExpertMasks masks = {};  ///< of a training pass

  /// The question to a router about these rows.
  RouteRequest request(Context& context) const {
    return {x, images, tokens_per_image, copies, block, context.depth(), context.routing, context.workspace()};
  }
};

/// stream += experts(x) as the router's plan says. The router lives here, or, where its scope is the model, its plan is
/// already there. `defaults` says which blocks are sparse and how a context routes until the caller changes it.
template <class RouterType, class BankType, MoeConfig moe = MoeConfig{.experts = RouterType::experts}>
class SparseMlp {
  static_assert(Router<RouterType>, "SparseMlp: the router must have dim, experts, scope and route(request, routing)");
  static_assert(
      Bank<BankType>,
      "SparseMlp: the bank must have dim, block_rows, scratch_bytes(rows), experts() and forward(expert, x, y, arena)");
  static_assert(RouterType::dim == BankType::dim, "SparseMlp: router and experts must have the same width");

 public:
  using RouterOfModel = std::conditional_t<RouterType::scope == RouterScope::model, RouterType, Nothing>;
  static constexpr Index dim = BankType::dim;
  static constexpr Index experts = RouterType::experts;
  static constexpr RouterScope scope = RouterType::scope;
  static constexpr MoeConfig defaults = moe;
  /// Copies of each image that the router wants: the members of an ensemble.
  static constexpr Index copies = [] {
    if constexpr (requires { RouterType::members; })
      return Index{RouterType::members};
    else
      return Index{1};
  }();

  /// Whether it has training passes: the bank's experts have them, and so has the router if it has parameters.
  static constexpr bool is_trainable = TrainableBank<BankType> && TrainableRouter<RouterType>;

  /// Most choices that a router keeps of `images` images, each `copies` times.
  static constexpr Index choices(const RoutingOptions& options, Index images, Index tokens_per_image) {
    if constexpr (requires { RouterType::choices(options, images, tokens_per_image); })
      return RouterType::choices(options, images, tokens_per_image);
    else
      return images * copies * tokens_per_image * std::clamp(options.selected, Index{1}, experts);
  }
  /// Scratch for `images` images, each `copies` times.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, Index tokens_per_image) {
    const Index rows = choices(options, images, tokens_per_image);
    return one_after_the_other(router_scratch(images * copies * tokens_per_image),
                               {dispatch_shared_bytes<BankType>(rows, experts), dispatch_worker_bytes<BankType>(rows)});
  }
  /// Makes room in a routing for such a batch.
  static void reserve(Routing& routing, const RoutingOptions& options, Index images, Index tokens_per_image) {
    const Index tokens = images * copies * tokens_per_image;
    routing.resize(tokens, experts);
    routing.plan.reserve(tokens, experts, choices(options, images, tokens_per_image));
    routing.scratch.reserve(tokens, experts);
  }

  void forward(const BlockRows& rows, Context& context) const {
    Workspace& workspace = context.workspace();
    Routing& routing = context.routing_of(rows.block);
    if constexpr (scope == RouterScope::block) router_.route(rows.request(context), routing);
    const Arena::Scope scope_of_scratch(workspace.shared());
    const SparsePlan& plan = routing.plan;
    ExpertTask* tasks = workspace.shared().take<ExpertTask>(experts + plan.rows());
    const bool bf16 = context.routing.bf16_dispatch;
    if (plan.has_single_rows())
      return context.count_expert_rows(
          run_and_combine(plan, bank_, rows.x, rows.scale, rows.stream, bf16, tasks, workspace));
    const MatrixView outputs(workspace.shared().take<float>(plan.rows() * dim), plan.rows(), dim);
    context.count_expert_rows(run_experts(plan, bank_, rows.x, outputs, bf16, tasks, workspace));
    combine(plan, outputs, rows.scale, rows.stream, workspace);
  }

  /// What backward() needs of a pass, beside the routing that the context keeps.
  using Saved = SavedExperts;
  static Saved take_saved(const RoutingOptions& options, Index images, Index tokens_per_image, Arena& arena) {
    const Index rows = choices(options, images, tokens_per_image);
    constexpr Index hidden = BankType::ExpertType::saved_width;
    return {{arena.take<float>(rows * hidden), rows, hidden}, {arena.take<float>(rows * dim), rows, dim}};
  }
  static constexpr Index saved_bytes(const RoutingOptions& options, Index images, Index tokens_per_image) {
    const Index rows = choices(options, images, tokens_per_image);
    return arena_bytes<float>(rows * BankType::ExpertType::saved_width) + arena_bytes<float>(rows * dim);
  }
  static constexpr ScratchBytes training_scratch(const RoutingOptions& options, Index images, Index tokens_per_image) {
    const Index tokens = images * copies * tokens_per_image;
    ScratchBytes bytes =
        one_after_the_other(scratch(options, images, tokens_per_image),
                            dispatch_training_scratch<BankType>(choices(options, images, tokens_per_image), experts));
    if constexpr (LearningRouter<RouterType>) bytes = one_after_the_other(bytes, RouterType::backward_scratch(tokens));
    return bytes;
  }

  /// As forward(), filling `saved`. With `routed`, the plan is there already: a pass that is done again.
  void forward_saved(const BlockRows& rows, const Saved& saved, bool routed, Context& context) const {
    Routing& routing = context.routing_of(rows.block);
    if constexpr (scope == RouterScope::block)
      if (!routed) router_.route(rows.request(context), routing);
    run_experts_saved(routing.plan, bank_, rows.x, saved, {context.routing.bf16_dispatch, rows.masks},
                      context.workspace());
    combine(routing.plan, saved.outputs, rows.scale, rows.stream, context.workspace());
  }
  /// branch (zeros before) += the combined output of a saved pass, without layer scale.
  static void branch_of(int block, const Saved& saved, MatrixView branch, Context& context) {
    combine(context.plan(block), saved.outputs, nullptr, branch, context.workspace());
  }
  /// From d_branch, the gradient of the combined output: adds to grads and to d_x, the gradient of rows.x, and, where
  /// the router stands outside, to `plan`, which has started; else `plan` is room. `saved` is used up.
  void backward(const BlockRows& rows, const Saved& saved, ConstMatrixView d_branch, SparseMlp& grads,
                PlanGradient& plan, const AddLossGradient& add_losses, MatrixView d_x, Context& context) const {
    const Routing& routing = context.routing_of(rows.block);
    if constexpr (scope == RouterScope::block) plan.start(routing.plan);
    const bool is_aligned = context.routing.aligned_gradients;
    if (is_aligned && context.routing.scale_by_gate)
      fail("block ", rows.block, ": expected aligned gradients only where scale_by_gate is false");
    experts_backward(routing.plan, bank_, rows.x, saved, d_branch,
                     {context.routing.bf16_dispatch, rows.masks, is_aligned ? &routing : nullptr}, grads.bank_,
                     plan.weights.data(), d_x, context.workspace());
    if constexpr (scope == RouterScope::block)
      if constexpr (LearningRouter<RouterType>)
        router_.backward(rows.request(context), routing, plan, add_losses, grads.router_, d_x);
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    if constexpr (scope == RouterScope::block && requires { RouterType::each_parameter(self.router_, prefix, visit); })
      RouterType::each_parameter(self.router_, join_name(prefix, "router"), visit);
    BankType::each_parameter(self.bank_, join_name(prefix, "experts"), visit);
  }

 private:
  static constexpr ScratchBytes router_scratch(Index rows) {
    if constexpr (scope != RouterScope::block)
      return {};
    else if constexpr (requires { RouterType::route_scratch(rows); })
      return RouterType::route_scratch(rows);
    else
      return {0, router_worker_bytes(rows, dim)};
  }

  std::conditional_t<scope == RouterScope::block, RouterType, Nothing> router_;
  BankType bank_{experts};
};

}  // namespace moevit
