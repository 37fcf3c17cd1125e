/// The sparse part of a block: a router and a bank of experts, joined by a plan.
#pragma once

#include <moevit/moe/context.hpp>
#include <moevit/moe/dispatch.hpp>
#include <moevit/moe/gates.hpp>

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
    const Index router = scope == RouterScope::block ? router_worker_bytes(images * copies * tokens_per_image, dim) : 0;
    return {dispatch_shared_bytes<BankType>(rows, experts), std::max(router, dispatch_worker_bytes<BankType>(rows))};
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
    const Arena::Scope scope_of_outputs(workspace.shared());
    const SparsePlan& plan = routing.plan;
    const MatrixView outputs(workspace.shared().take<float>(plan.rows() * dim), plan.rows(), dim);
    ExpertTask* tasks = workspace.shared().take<ExpertTask>(experts + plan.rows());
    context.count_expert_rows(
        run_experts(plan, bank_, rows.x, outputs, context.routing.bf16_dispatch, tasks, workspace));
    combine(plan, outputs, rows.scale, rows.stream, workspace);
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    if constexpr (scope == RouterScope::block && requires { RouterType::each_parameter(self.router_, prefix, visit); })
      RouterType::each_parameter(self.router_, join_name(prefix, "router"), visit);
    BankType::each_parameter(self.bank_, join_name(prefix, "experts"), visit);
  }

 private:
  std::conditional_t<scope == RouterScope::block, RouterType, Nothing> router_;
  BankType bank_{experts};
};

}  // namespace moevit
