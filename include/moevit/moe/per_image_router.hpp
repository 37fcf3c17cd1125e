/// The router of a Mobile V-MoE: one decision per image for all sparse blocks.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/moe/gates.hpp>
#include <moevit/moe/random_gates.hpp>
#include <moevit/moe/router_gradient.hpp>
#include <moevit/moe/routing.hpp>
#include <moevit/simd/rows.hpp>

namespace moevit {

/// Adds the k experts of every image to the plan: all tokens of an image go to the same experts, nothing is dropped.
/// gates: images x E. Slots number the tokens of an expert.
inline void assign_images(ConstMatrixView gates, Index tokens_per_image, const RoutingOptions& options,
                          SparsePlan& plan, AssignScratch& scratch) {
  const Index experts = gates.cols(), images = gates.rows();
  if (options.selected < 1 || options.selected > experts)
    fail("routing: expected 1 to ", experts, " selected experts, found ", options.selected);
  plan.start(images * tokens_per_image, experts, 1, images * tokens_per_image);
  scratch.filled.assign(static_cast<std::size_t>(experts), 0);
  const Index k = options.selected, step = tokens_per_image * k;
  const std::span<Choice> choices = plan.add_choices(images * step);
  simd::visit_top_k([&](Index image) { return gates.row_data(image); }, images, experts, k,
                    [&](Index image, Index rank, std::int32_t expert, float gate) {
                      choices[static_cast<std::size_t>(image * step + rank)] = {
                          static_cast<std::int32_t>(image * tokens_per_image), static_cast<std::int32_t>(rank), expert,
                          -1, gate};
                    });
  for (Index first = 0; first < images * step; first += step)
    for (Index rank = 0; rank < k; ++rank) {  // the choice of the image's first token, for all of them
      Choice choice = choices[static_cast<std::size_t>(first + rank)];
      choice.slot = scratch.filled[static_cast<std::size_t>(choice.expert)];
      for (Index i = first + rank; i < first + step; i += k, ++choice.token, ++choice.slot)
        choices[static_cast<std::size_t>(i)] = choice;
      scratch.filled[static_cast<std::size_t>(choice.expert)] += static_cast<std::int32_t>(tokens_per_image);
    }
  weigh_choices(options, plan);
  plan.finish_images(tokens_per_image);
}

/// Gates that send every image to its expert: 1 there and 0 elsewhere. gates: images x E. Throws Error when `assigned`
/// is not one expert per image, or k is not 1.
inline void assign_gates(std::span<const std::int32_t> assigned, Index selected, MatrixView gates) {
  if (std::ssize(assigned) != gates.rows())
    fail("assigned experts: expected one for each of ", gates.rows(), " images, found ", assigned.size());
  if (selected != 1) fail("assigned experts: expected 1 selected expert, found ", selected);
  std::fill_n(gates.data(), gates.size(), 0.f);
  for (Index image = 0; image < gates.rows(); ++image) {
    const std::int32_t expert = assigned[static_cast<std::size_t>(image)];
    if (expert < 0 || expert >= gates.cols())
      fail("assigned experts: image ", image, ": expected an expert from 0 to ", gates.cols() - 1, ", found ", expert);
    gates(image, expert) = 1.f;
  }
}

/// logits = r W + b, r the mean over an image's tokens or its first token; gates = softmax; the k largest.
/// It reads the residual stream that enters the first sparse block, without a norm. Source: Daxberger et al. 2023.
template <Index dim_, Index experts_, RouterInput input = RouterInput::mean>
class PerImageRouter {
 public:
  static constexpr Index dim = dim_;
  static constexpr Index experts = experts_;
  static constexpr RouterScope scope = RouterScope::model;

  static constexpr Index scratch_bytes(Index images) { return arena_bytes<float>(images * dim); }

  /// Fills routing.plan for all tokens; routing.gates() and logits() are images x E.
  void route(const RouteRequest& request, Routing& routing) const {
    const Arena::Scope scope_of_pooled(request.workspace.shared());
    const MatrixView pooled(request.workspace.shared().template take<float>(request.images * dim), request.images, dim);
    request.workspace.parallel(request.images, [&](Index image, Arena&) {
      pool(request.tokens.rows_of(image * request.tokens_per_image, request.tokens_per_image), pooled.row_data(image));
    });
    routing.resize(request.images, experts);
    if (request.wants_random())
      random_logits(pooled, request.block, request.options.seed, routing.logits());
    else
      router_logits(pooled, layer_.kernel(), layer_.bias(), routing.logits(), request.workspace);
    softmax_gates(routing.logits(), routing.gates(), request.workspace);
    check_gates(routing.gates(), request.block);
    if (!request.options.assigned.empty())
      assign_gates(request.options.assigned, request.options.selected, routing.gates());
    assign_images(routing.gates(), request.tokens_per_image, request.options, routing.plan, routing.scratch);
  }

  /// As LinearRouter::backward: request.tokens and dx are the stream that enters the first sparse block and its
  /// gradient.
  void backward(const RouteRequest& request, const Routing& routing, const PlanGradient& plan,
                const AddLossGradient& add_losses, PerImageRouter& grads, MatrixView dx) const {
    Workspace& workspace = request.workspace;
    Arena& shared = workspace.shared();
    const Arena::Scope scope_of_logits(shared);
    const Index images = request.images, tokens = request.tokens_per_image;
    const MatrixView d_logits(shared.template take<float>(images * experts), images, experts);
    gate_gradient(routing, plan.weights, request.options, tokens, d_logits, request.workspace);
    softmax_gradient(routing.gates(), d_logits, request.workspace);
    if (add_losses) add_losses(routing, d_logits);
    if (request.wants_random()) return;
    const MatrixView pooled(shared.template take<float>(images * dim), images, dim);
    for (Index image = 0; image < images; ++image)
      pool(request.tokens.rows_of(image * tokens, tokens), pooled.row_data(image));
    add_weight_gradient(pooled, d_logits, grads.layer_.gradient(), workspace);
    const simd::PackedView transposed = transposed_weights(layer_.kernel(), workspace);
    workspace.parallel(1, [&](Index, Arena& arena) { multiply_rows(d_logits, transposed, pooled, arena); });
    const Index read = input == RouterInput::mean ? tokens : 1;
    for (Index image = 0; image < images; ++image)
      for (Index token = 0; token < read; ++token)
        simd::add_scaled_row(1.f / static_cast<float>(read), pooled.row_data(image), dim,
                             dx.row_data(image * tokens + token));
  }
  static constexpr ScratchBytes backward_scratch(Index images) {
    return {arena_bytes<float>(images * experts) + arena_bytes<float>(images * dim) +
                Linear<dim, experts>::transposed_bytes,
            std::max(tiles_bytes(images, experts), weight_gradient_bytes(images))};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Linear<dim, experts>::each_parameter(self.layer_, prefix, Role::router, visit);
  }

 private:
  static void pool(ConstMatrixView tokens, float* result) {
    std::fill_n(result, dim, 0.f);
    const Index count = input == RouterInput::mean ? tokens.rows() : 1;
    const float weight = 1.f / static_cast<float>(count);
    for (Index token = 0; token < count; ++token) simd::add_scaled_row(1.f, tokens.row_data(token), dim, result);
    for (Index i = 0; i < dim; ++i) result[i] *= weight;
  }

  Linear<dim, experts> layer_;
};

}  // namespace moevit
