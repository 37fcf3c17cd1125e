/// The router of Soft MoE: how much every slot takes of every token, and every token of every slot.
#pragma once

#include <moevit/moe/gates.hpp>
#include <moevit/moe/routing.hpp>
#include <moevit/moe/soft_gradient.hpp>

#include <cmath>

namespace moevit {

/// target = source / sqrt(sum of squares + 1e-6), over `count` values `stride` apart.
inline void normalise_strided(const float* source, Index count, Index stride, float factor, float* target) {
  float sum = 0.f;
  for (Index i = 0; i < count; ++i) sum = std::fma(source[i * stride], source[i * stride], sum);
  const float inverse = factor / std::sqrt(sum + 1e-6f);
  for (Index i = 0; i < count; ++i) target[i * stride] = source[i * stride] * inverse;
}

/// Logits = scale * normalised x . normalised mu; dispatch = softmax over the group's tokens, combine = softmax over
/// all slots. mu: D x (E * P). Source: Soft MoE (Puigcerver et al. 2023), algorithm 1 and the authors' code.
template <Index dim_, Index experts_, Index slots_>
class SoftRouter {
 public:
  static constexpr Index dim = dim_;
  static constexpr Index experts = experts_;
  static constexpr Index slots = slots_;
  static constexpr Index all_slots = experts * slots;

  SoftRouter() : mu_(dim * all_slots), scale_(1) { scale_[0] = 1.f; }

  /// Shared scratch for the normalised directions and packed copies of a pass; per worker for a group of `group`
  /// tokens.
  static constexpr ScratchBytes scratch(Index group) {
    return {arena_bytes<float>(dim * all_slots) + arena_bytes<float>(simd::packed_size(dim, all_slots)),
            arena_bytes<float>(dim) + tiles_bytes(group, dim) + 2 * arena_bytes<float>(group * all_slots)};
  }

  /// Fills routing.soft, whose weights must have room for tokens x slots floats each.
  void route(const RouteRequest& request, Routing& routing) const {
    const Index group = request.group(), groups = request.tokens.rows() / group;
    SoftPlan& plan = routing.soft;
    plan.groups = groups, plan.group = group, plan.experts = experts, plan.slots = slots;
    Arena& shared = request.workspace.shared();
    const Arena::Scope scope_of_mu(shared);
    float* directions = shared.take<float>(dim * all_slots);
    for (Index slot = 0; slot < all_slots; ++slot)
      normalise_strided(mu_.data() + slot, dim, all_slots, scale_[0], directions + slot);
    const simd::PackedView packed =
        simd::pack(directions, all_slots, dim, all_slots, shared.take<float>(simd::packed_size(dim, all_slots)));
    draw_noise(request, plan);
    request.workspace.parallel(groups, [&](Index g, Arena& arena) {
      route_group(request.tokens.rows_of(g * group, group), packed, g, request, plan, arena);
    });
  }

  /// From d_logits (tokens x slots): adds to grads and to dx, the gradient of the tokens.
  void backward(const RouteRequest& request, ConstMatrixView d_logits, SoftRouter& grads, MatrixView dx) const {
    Workspace& workspace = request.workspace;
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index rows = request.tokens.rows();
    const MatrixView normalised(shared.take<float>(rows * dim), rows, dim);
    const MatrixView directions(shared.take<float>(dim * all_slots), dim, all_slots);
    const MatrixView d_directions(shared.take<float>(dim * all_slots), dim, all_slots);
    for (Index token = 0; token < rows; ++token)
      normalise_strided(request.tokens.row_data(token), dim, 1, 1.f, normalised.row_data(token));
    for (Index slot = 0; slot < all_slots; ++slot)
      normalise_strided(mu_.data() + slot, dim, all_slots, scale_[0], directions.data() + slot);
    std::fill_n(d_directions.data(), d_directions.size(), 0.f);
    workspace.parallel(1, [&](Index, Arena& arena) {
      add_transpose_product(normalised, d_logits, d_directions, arena);
      multiply_by_transpose(d_logits, directions, normalised, arena);  // now the gradient of the normalised tokens
    });
    for (Index token = 0; token < rows; ++token)
      add_normalised_gradient(request.tokens.row_data(token), normalised.row_data(token), dim, 1, 1.f,
                              dx.row_data(token));
    for (Index slot = 0; slot < all_slots; ++slot)
      grads.scale_[0] += add_normalised_gradient(mu_.data() + slot, d_directions.data() + slot, dim, all_slots,
                                                 scale_[0], grads.mu_.data() + slot) /
                         scale_[0];
  }
  static constexpr ScratchBytes backward_scratch(Index rows) {
    return {arena_bytes<float>(rows * dim) + 2 * arena_bytes<float>(dim * all_slots),
            made_operands_bytes(rows, all_slots, dim)};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    using T = ParameterValue<Self>;
    visit(plain_parameter<T>(join_name(prefix, "mu"), self.mu_.data(), {dim, experts, slots}, Role::router));
    visit(plain_parameter<T>(join_name(prefix, "scale"), self.scale_.data(), {}, Role::router));
  }

 private:
  // Unit noise waits where the combine weights will be; it is scaled by noise_std alone, not by the number of experts.
  static void draw_noise(const RouteRequest& request, SoftPlan& plan) {
    const RoutingOptions& options = request.options;
    if (options.noise_std == 0) return;
    if (!options.noise)
      fail("router of block ", request.block, ": expected a noise source for noise_std ", options.noise_std,
           ", found none");
    options.noise->fill(request.block,
                        plan.combine.span().first(static_cast<std::size_t>(request.tokens.rows() * all_slots)));
  }

  void route_group(ConstMatrixView x, const simd::PackedView& directions, Index g, const RouteRequest& request,
                   SoftPlan& plan, Arena& arena) const {
    const Index group = x.rows();
    float* row = arena.take<float>(dim);
    const simd::RowTiles normalised = take_tiles(group, directions, arena);
    simd::fill_tiles(normalised, [&](Index token) {
      normalise_strided(x.row_data(token), dim, 1, 1.f, row);
      return row;
    });
    const MatrixView logits(arena.take<float>(group * all_slots), group, all_slots);
    simd::gemm(normalised, directions, {}, simd::RowsOut{logits.data(), all_slots});
    if (request.options.noise_std != 0)
      simd::add_scaled_row(static_cast<float>(request.options.noise_std), plan.combine.data() + g * group * all_slots,
                           group * all_slots, logits.data());
    check_gates(logits, request.block);
    const MatrixView by_slot(arena.take<float>(group * all_slots), all_slots, group);
    for (Index slot = 0; slot < all_slots; ++slot)
      for (Index token = 0; token < group; ++token) by_slot(slot, token) = logits(token, slot);
    for (Index slot = 0; slot < all_slots; ++slot)
      simd::softmax_row(by_slot.row_data(slot), group, 1.f, plan.dispatch.data() + (g * all_slots + slot) * group);
    for (Index token = 0; token < group; ++token)
      simd::softmax_row(logits.row_data(token), all_slots, 1.f, plan.combine.data() + (g * group + token) * all_slots);
  }

  AlignedBuffer<float> mu_;
  AlignedBuffer<float> scale_;
};

}  // namespace moevit
