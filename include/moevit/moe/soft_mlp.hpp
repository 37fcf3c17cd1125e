/// Soft MoE: every slot is a mixture of all tokens of a group, every token a mixture of all slots.
#pragma once

#include <moevit/moe/context.hpp>
#include <moevit/moe/dispatch.hpp>
#include <moevit/moe/gates.hpp>
#include <moevit/moe/sparse_mlp.hpp>

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

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
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

/// stream += combine(experts(dispatch(x))) with the weights of a SoftRouter. Every expert computes P rows per group.
template <class RouterType, class BankType,
          MoeConfig moe = MoeConfig{.experts = RouterType::experts, .router = RouterKind::soft}>
class SoftMlp {
  static_assert(
      Bank<BankType>,
      "SoftMlp: the bank must have dim, block_rows, scratch_bytes(rows), experts() and forward(expert, x, y, arena)");
  static_assert(RouterType::dim == BankType::dim, "SoftMlp: router and experts must have the same width");

 public:
  using RouterOfModel = Nothing;
  static constexpr Index dim = BankType::dim;
  static constexpr Index experts = RouterType::experts;
  static constexpr Index slots = RouterType::slots;
  static constexpr Index all_slots = experts * slots;
  static constexpr RouterScope scope = RouterScope::block;
  static constexpr bool is_trainable = false;
  static constexpr MoeConfig defaults = moe;
  static constexpr Index copies = 1;

  /// Scratch for `images` images.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, Index tokens_per_image) {
    const Index group = tokens_per_group(options, images, tokens_per_image), groups = images * tokens_per_image / group;
    const Index block = std::min(groups * slots, Index{BankType::block_rows});
    const Index mixing = std::max(
        arena_bytes<float>(simd::packed_size(group, dim)) + arena_bytes<float>(group * dim) + tiles_bytes(slots, group),
        arena_bytes<float>(simd::packed_size(all_slots, dim)) + arena_bytes<float>(all_slots * dim) +
            tiles_bytes(group, all_slots));
    const ScratchBytes routing = RouterType::scratch(group);
    return {std::max(routing.shared, 2 * arena_bytes<float>(groups * all_slots * dim)),
            std::max({routing.per_worker, mixing, BankType::scratch_bytes(block)})};
  }

  /// Makes room in a routing for such a batch.
  static void reserve(Routing& routing, const RoutingOptions&, Index images, Index tokens_per_image) {
    const Index weights = images * tokens_per_image * all_slots;
    if (routing.soft.dispatch.size() < weights)
      routing.soft.dispatch = routing.soft.combine = AlignedBuffer<float>(weights);
  }

  void forward(const BlockRows& rows, Context& context) const {
    Workspace& workspace = context.workspace();
    Routing& routing = context.routing_of(rows.block);
    reserve(routing, context.routing, rows.images, rows.tokens_per_image);
    router_.route(rows.request(context), routing);
    const SoftPlan& plan = routing.soft;
    const Arena::Scope scope_of_slots(workspace.shared());
    const Index slot_rows = plan.groups * all_slots;
    const MatrixView inputs(workspace.shared().take<float>(slot_rows * dim), slot_rows, dim);
    const MatrixView outputs(workspace.shared().take<float>(slot_rows * dim), slot_rows, dim);
    const bool bf16 = context.routing.bf16_dispatch;
    workspace.parallel(plan.groups,
                       [&](Index g, Arena& arena) { dispatch_group(plan, g, rows.x, bf16, inputs, arena); });
    run_bank(plan.groups, inputs, outputs, bf16, workspace);
    context.count_expert_rows(slot_rows);
    workspace.parallel(plan.groups, [&](Index g, Arena& arena) { combine_group(plan, g, outputs, rows, arena); });
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    RouterType::each_parameter(self.router_, join_name(prefix, "router"), visit);
    BankType::each_parameter(self.bank_, join_name(prefix, "experts"), visit);
  }

 private:
  // Row of slot `slot` of expert `expert` in group g: experts first, so that each expert's rows are consecutive.
  static Index slot_row(Index groups, Index g, Index slot) {
    return (slot / slots * groups + g) * slots + slot % slots;
  }

  static void dispatch_group(const SoftPlan& plan, Index g, ConstMatrixView x, bool bf16, MatrixView inputs,
                             Arena& arena) {
    const Index group = plan.group;
    float* tokens = arena.take<float>(group * dim);
    for (Index token = 0; token < group; ++token) std::copy_n(x.row_data(g * group + token), dim, tokens + token * dim);
    if (bf16) simd::round_row_to_bf16(tokens, group * dim);
    const simd::PackedView packed =
        simd::pack(tokens, dim, group, dim, arena.take<float>(simd::packed_size(group, dim)));
    const ConstMatrixView weights = plan.dispatch_of(g);
    const simd::RowTiles tiles = take_tiles(slots, packed, arena);
    for (Index slot = 0; slot < all_slots; slot += slots) {
      simd::fill_tiles(tiles, [&](Index row) { return weights.row_data(slot + row); });
      simd::gemm(tiles, packed, {}, simd::RowsOut{inputs.row_data(slot_row(plan.groups, g, slot)), dim});
    }
  }

  void run_bank(Index groups, ConstMatrixView inputs, MatrixView outputs, bool bf16, Workspace& workspace) const {
    const Index rows = groups * slots, blocks = ceil_div(rows, Index{BankType::block_rows});
    workspace.parallel(experts * blocks, [&](Index task, Arena& arena) {
      const Index expert = task / blocks, block = task % blocks, first = rows * block / blocks;
      const Index count = rows * (block + 1) / blocks - first;
      const MatrixView y = outputs.rows_of(expert * rows + first, count);
      bank_.forward(expert, inputs.rows_of(expert * rows + first, count), y, arena);
      if (bf16)
        for (Index row = 0; row < count; ++row) simd::round_row_to_bf16(y.row_data(row), dim);
    });
  }

  static void combine_group(const SoftPlan& plan, Index g, ConstMatrixView outputs, const BlockRows& rows,
                            Arena& arena) {
    float* slot_outputs = arena.take<float>(all_slots * dim);
    for (Index slot = 0; slot < all_slots; ++slot)
      std::copy_n(outputs.row_data(slot_row(plan.groups, g, slot)), dim, slot_outputs + slot * dim);
    const simd::PackedView packed =
        simd::pack(slot_outputs, dim, all_slots, dim, arena.take<float>(simd::packed_size(all_slots, dim)));
    const MatrixView stream = rows.stream.rows_of(g * plan.group, plan.group);
    const simd::Epilogue epilogue{.scale = rows.scale, .residual = stream.data(), .residual_stride = stream.stride()};
    const ConstMatrixView weights = plan.combine_of(g);
    const simd::RowTiles tiles = take_tiles(plan.group, packed, arena);
    simd::fill_tiles(tiles, [&](Index token) { return weights.row_data(token); });
    simd::gemm(tiles, packed, epilogue, simd::RowsOut{stream.data(), stream.stride()});
  }

  RouterType router_;
  BankType bank_{experts};
};

}  // namespace moevit
