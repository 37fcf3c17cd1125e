/// The routers with one linear score per token and expert: top-k (V-MoE, dropless, ensembles), expert choice, random.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/moe/gates.hpp>
#include <moevit/moe/random_gates.hpp>
#include <moevit/moe/router_gradient.hpp>
#include <moevit/moe/routing.hpp>

#include <algorithm>
#include <atomic>
#include <limits>

namespace moevit {

/// Softmax over blocks of columns: row r uses the `experts / members` columns of its member, the others get 0. The rows
/// of the stream are (image, member, token); members = 1 is the plain softmax. Rows begin .. begin + count - 1.
inline void member_softmax(ConstMatrixView logits, Index begin, Index count, Index members, Index tokens_per_image,
                           MatrixView gates) {
  const Index own = logits.cols() / members;
  const auto first_own = [&](Index row) { return members == 1 ? 0 : (begin + row) / tokens_per_image % members * own; };
  if (members > 1) std::fill_n(gates.row_data(begin), count * gates.cols(), 0.f);
  simd::softmax_rows([&](Index row) { return logits.row_data(begin + row) + first_own(row); }, count, own,
                     [&](Index row) { return gates.row_data(begin + row) + first_own(row); });
}

/// The last steps of scoring, block by block so that gates are still in the cache when they are used: softmax, check,
/// use(begin, rows). `use` may run on many threads at once. Throws Error as check_gates does.
template <class Use>
void make_gates(ConstMatrixView logits, const RouteRequest& request, Index members, MatrixView gates, Use use) {
  constexpr Index block_floats = 1 << 14;
  std::atomic<bool> finite = true;
  request.workspace.parallel_rows(logits.rows(), std::max<Index>(block_floats / logits.cols(), 1),
                                  [&](Index begin, Index rows, Arena&) {
                                    member_softmax(logits, begin, rows, members, request.tokens_per_image, gates);
                                    if (finite_gates(gates.rows_of(begin, rows)))
                                      use(begin, rows);
                                    else
                                      finite.store(false, std::memory_order_relaxed);
                                  });
  if (!finite) check_gates(gates, request.block);  // finds the first one, whichever thread was first
}

/// Logits by fill(logits) (or random ones), noise if asked for, and gates of a request, left in `routing`. use(begin,
/// rows) is called for blocks of rows whose gates are ready, maybe on many threads at once.
template <class Fill, class Use>
void score_tokens_by(const RouteRequest& request, Index experts, Index members, Routing& routing, Fill fill, Use use) {
  const Index rows = request.tokens.rows();
  routing.resize(rows, experts);
  if (request.wants_random())
    random_logits(request.tokens, request.block, request.options.seed, routing.logits());
  else
    fill(routing.logits());
  const RoutingOptions& options = request.options;
  if (options.noise_std != 0) {
    if (!options.noise)
      fail("router of block ", request.block, ": expected a noise source for noise_std ", options.noise_std,
           ", found none");
    routing.resize_noisy();
    const MatrixView noisy = routing.noisy_logits();
    const std::span<float> unit(routing.gates().data(),
                                static_cast<std::size_t>(rows * experts));  // free until the softmax
    options.noise->fill(request.block, unit);
    add_noise(routing.logits(), unit, options.noise_std, experts / members, noisy);
  }
  const ConstMatrixView scored =
      options.noise_std != 0 ? ConstMatrixView(routing.noisy_logits()) : ConstMatrixView(routing.logits());
  make_gates(scored, request, members, routing.gates(), use);
}

/// The same with linear logits.
template <class Use>
void score_tokens(const RouteRequest& request, const simd::PackedView& kernel, const float* bias, Index members,
                  Routing& routing, Use use) {
  const auto fill = [&](MatrixView logits) { router_logits(request.tokens, kernel, bias, logits, request.workspace); };
  score_tokens_by(request, kernel.cols, members, routing, fill, use);
}
inline void score_tokens(const RouteRequest& request, const simd::PackedView& kernel, const float* bias, Index members,
                         Routing& routing) {
  score_tokens(request, kernel, bias, members, routing, [](Index, Index) {});
}

/// The k best experts of every token, by logits from fill_logits(logits). Fills routing.plan; within a group positions
/// run over (image, token, member), so position modulo M is the member.
template <Index members, class Fill>
void route_top_k(const RouteRequest& request, Index experts, Routing& routing, Fill fill_logits) {
  if (request.options.selected > experts / members)
    fail("router of block ", request.block, ": expected 1 to ", experts / members, " selected experts, found ",
         request.options.selected);
  const Index tokens = request.tokens_per_image, rows = request.tokens.rows(), k = request.options.selected;
  const auto position_of = [tokens](Index row) {
    if constexpr (members == 1) return row;
    const Index token = row % tokens, member = row / tokens % members, image = row / tokens / members;
    return (image * tokens + token) * members + member;
  };
  start_top_k(rows, experts, request.group(), request.options, routing.plan);
  const std::span<Choice> choices = routing.plan.mutable_choices();
  score_tokens_by(request, experts, members, routing, fill_logits, [&](Index begin, Index count) {
    choose_top_k(
        routing.gates(), begin, count, k, choices, [](Index row) { return row; }, position_of);
  });
  finish_top_k(request.group(), request.options, routing.plan, routing.scratch);
}

/// What top-k and expert-choice routers share: one kernel D x E, no bias.
template <Index dim_, Index experts_>
class LinearRouter {
 public:
  static constexpr Index dim = dim_;
  static constexpr Index experts = experts_;
  static constexpr RouterScope scope = RouterScope::block;

  /// Adds the gradient of the kernel to grads and that of the tokens to dx, from the gradients of the plan's weights
  /// and of auxiliary losses.
  void backward(const RouteRequest& request, const Routing& routing, const PlanGradient& plan,
                const AddLossGradient& add_losses, LinearRouter& grads, MatrixView dx) const {
    Workspace& workspace = request.workspace;
    const Arena::Scope scope_of_logits(workspace.shared());
    const Index rows = request.tokens.rows();
    const MatrixView d_logits(workspace.shared().template take<float>(rows * experts), rows, experts);
    gate_gradient(routing, plan.weights, request.options, 1, d_logits, request.workspace);
    softmax_gradient(routing.gates(), d_logits, request.workspace);
    if (add_losses) add_losses(routing, d_logits);
    if (request.wants_random()) return;  // the logits came from nowhere
    add_weight_gradient(request.tokens, d_logits, grads.scores_.gradient(), workspace);
    add_product_by_transposed(scores_.kernel(), d_logits, dx, workspace);
  }
  static constexpr ScratchBytes backward_scratch(Index rows) {
    return {arena_bytes<float>(rows * experts) + Linear<dim, experts, false>::transposed_bytes,
            std::max(added_product_bytes(rows, experts, dim), weight_gradient_bytes(rows))};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Linear<dim, experts, false>::each_parameter(self.scores_, prefix, Role::router, visit);
  }

 protected:
  Linear<dim, experts, false> scores_;
};

/// Each token takes its k best experts: gates = softmax(x W + noise), no renormalisation unless asked for, W without
/// bias. With members = M > 1 the experts are split in M blocks and each image copy uses its own (efficient ensembles,
/// Allingham et al. 2022). Source: V-MoE (Riquelme et al. 2021), sections 2 and 3.
template <Index dim, Index experts, Index members_ = 1>
class TopKRouter : public LinearRouter<dim, experts> {
  static_assert(experts % members_ == 0, "TopKRouter: the experts must split evenly over the ensemble's members");

 public:
  static constexpr Index members = members_;

  /// Fills routing.plan.
  void route(const RouteRequest& request, Routing& routing) const {
    const auto fill = [&](MatrixView logits) {
      router_logits(request.tokens, this->scores_.kernel(), nullptr, logits, request.workspace);
    };
    route_top_k<members>(request, experts, routing, fill);
  }
};

/// Each expert takes its C best tokens of a group; a token may get 0 to E experts. Source: Zhou et al. 2022.
template <Index dim, Index experts>
class ExpertChoiceRouter : public LinearRouter<dim, experts> {
 public:
  /// Most choices that can be made of `images` images: a bound that also stands where routing would refuse the
  /// capacity.
  static constexpr Index choices(const RoutingOptions& options, Index images, Index tokens_per_image) {
    const Index group = tokens_per_group(options, images, tokens_per_image);
    Index capacity = group;
    if (options.capacity > 0)
      capacity = std::min(options.capacity, group);
    else if (options.capacity_ratio * static_cast<double>(group) >= static_cast<double>(experts))
      capacity = std::min(resolve_capacity(options, group, experts, group), group);
    return images * tokens_per_image / group * experts * capacity;
  }

  void route(const RouteRequest& request, Routing& routing) const {
    score_tokens(request, this->scores_.kernel(), nullptr, 1, routing);
    assign_expert_choice(routing.gates(), request.group(), request.options, routing.plan, routing.scratch);
  }
};

/// Each token takes k experts that a hash of the token draws; nothing is learned. For ablations.
template <Index dim_, Index experts_>
class RandomRouter {
 public:
  static constexpr Index dim = dim_;
  static constexpr Index experts = experts_;
  static constexpr RouterScope scope = RouterScope::block;

  void route(const RouteRequest& request, Routing& routing) const {
    routing.resize(request.tokens.rows(), experts);
    random_logits(request.tokens, request.block, request.options.seed, routing.logits());
    softmax_gates(routing.logits(), routing.gates(), request.workspace);
    assign_top_k(routing.gates(), request.group(), request.options, routing.plan, routing.scratch);
  }
};

}  // namespace moevit
