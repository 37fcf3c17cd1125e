/// Soft MoE: every slot is a mixture of all tokens of a group, every token a mixture of all slots.
#pragma once

#include <moevit/moe/soft_router.hpp>
#include <moevit/moe/sparse_mlp.hpp>

namespace moevit {

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
  static constexpr bool is_trainable = TrainableBank<BankType>;
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

  /// What backward() needs of a pass, beside the plan that the context keeps: the slots, experts first.
  struct Saved {
    MatrixView inputs, hidden, outputs;
  };
  static Saved take_saved(const RoutingOptions& options, Index images, Index tokens_per_image, Arena& arena) {
    const Index rows = slots_of(options, images, tokens_per_image);
    constexpr Index hidden = BankType::ExpertType::saved_width;
    return {{arena.take<float>(rows * dim), rows, dim},
            {arena.take<float>(rows * hidden), rows, hidden},
            {arena.take<float>(rows * dim), rows, dim}};
  }
  static constexpr Index saved_bytes(const RoutingOptions& options, Index images, Index tokens_per_image) {
    const Index rows = slots_of(options, images, tokens_per_image);
    return 2 * arena_bytes<float>(rows * dim) + arena_bytes<float>(rows * BankType::ExpertType::saved_width);
  }
  static constexpr ScratchBytes training_scratch(const RoutingOptions& options, Index images, Index tokens_per_image) {
    using X = typename BankType::ExpertType;
    const Index group = tokens_per_group(options, images, tokens_per_image), tokens = images * tokens_per_image;
    const Index rows = slots_of(options, images, tokens_per_image), block = largest_block(rows, BankType::block_rows);
    const ScratchBytes router = RouterType::backward_scratch(tokens), pass = scratch(options, images, tokens_per_image);
    const Index experts_part = BankType::training_bytes + experts * X::transposed_bytes +
                               arena_bytes<typename X::Transposed>(experts) + arena_bytes<float>(rows * X::saved_width);
    return {std::max(pass.shared, 2 * arena_bytes<float>(rows * dim) + arena_bytes<float>(tokens * all_slots) +
                                      std::max(experts_part, router.shared)),
            std::max({pass.per_worker, router.per_worker, X::backward_worker_bytes(block, rows),
                      tiles_bytes(block, dim) + X::saved_scratch_bytes(block),
                      3 * arena_bytes<float>(std::max(group, all_slots) * dim) +
                          soft_gradient_bytes(group, all_slots, dim)})};
  }

  /// As forward(), filling `saved`; see SparseMlp.
  void forward_saved(const BlockRows& rows, const Saved& saved, bool routed, Context& context) const {
    Workspace& workspace = context.workspace();
    Routing& routing = context.routing_of(rows.block);
    reserve(routing, context.routing, rows.images, rows.tokens_per_image);
    if (!routed) router_.route(rows.request(context), routing);
    const SoftPlan& plan = routing.soft;
    const bool bf16 = context.routing.bf16_dispatch;
    workspace.parallel(plan.groups,
                       [&](Index g, Arena& arena) { dispatch_group(plan, g, rows.x, bf16, saved.inputs, arena); });
    each_block(plan.groups, workspace, [&](Index expert, Index first, Index count, Arena& arena) {
      const MatrixView y = saved.outputs.rows_of(first, count);
      bank_.expert(expert).forward_saved(saved.inputs.rows_of(first, count), saved.hidden.rows_of(first, count), y,
                                         arena, rows.masks.hidden.from(first));
      mask_and_round(rows.masks.outputs, bf16, first, y);
    });
    workspace.parallel(plan.groups, [&](Index g, Arena& arena) { combine_group(plan, g, saved.outputs, rows, arena); });
  }
  static void branch_of(int block, const Saved& saved, MatrixView branch, Context& context) {
    const SoftPlan& plan = context.soft_plan(block);
    const BlockRows rows{branch, branch, nullptr, 0, 0, 1, block};
    context.workspace().parallel(plan.groups,
                                 [&](Index g, Arena& arena) { combine_group(plan, g, saved.outputs, rows, arena); });
  }
  void backward(const BlockRows& rows, const Saved& saved, ConstMatrixView d_branch, SoftMlp& grads, PlanGradient&,
                const AddLossGradient&, MatrixView d_x, Context& context) const {
    Workspace& workspace = context.workspace();
    Arena& shared = workspace.shared();
    const Arena::Scope scope_of_gradients(shared);
    const SoftPlan& plan = context.soft_plan(rows.block);
    const Index slot_rows = plan.groups * all_slots, tokens = plan.groups * plan.group;
    const auto take = [&](Index count, Index width) {
      return MatrixView(shared.template take<float>(count * width), count, width);
    };
    const MatrixView d_outputs = take(slot_rows, dim), d_inputs = take(slot_rows, dim),
                     d_logits = take(tokens, all_slots);
    workspace.parallel(plan.groups, [&](Index g, Arena& arena) {
      const MatrixView own(arena.take<float>(all_slots * dim), all_slots, dim);
      multiply_transpose(plan.combine_of(g), d_branch.rows_of(g * plan.group, plan.group), own, arena);
      place_slots(plan.groups, g, own, d_outputs);
    });
    experts_backward(plan.groups, saved, rows.masks, d_outputs, d_inputs, grads, workspace);
    const bool bf16 = context.routing.bf16_dispatch;
    workspace.parallel(plan.groups, [&](Index g, Arena& arena) {
      mixing_backward(plan, g, rows.x, bf16, saved, d_branch, d_inputs, d_logits, d_x, arena);
    });
    router_.backward(rows.request(context), d_logits, grads.router_, d_x);
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

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    RouterType::each_parameter(self.router_, join_name(prefix, "router"), visit);
    BankType::each_parameter(self.bank_, join_name(prefix, "experts"), visit);
  }

 private:
  // Row of slot `slot` of expert `expert` in group g: experts first, so that each expert's rows are consecutive.
  static Index slot_row(Index groups, Index g, Index slot) {
    return (slot / slots * groups + g) * slots + slot % slots;
  }

  static constexpr Index slots_of(const RoutingOptions& options, Index images, Index tokens_per_image) {
    return images * tokens_per_image / tokens_per_group(options, images, tokens_per_image) * all_slots;
  }
  static void gather_slots(Index groups, Index g, ConstMatrixView all, MatrixView own) {
    for (Index slot = 0; slot < all_slots; ++slot)
      std::copy_n(all.row_data(slot_row(groups, g, slot)), dim, own.row_data(slot));
  }
  static void place_slots(Index groups, Index g, ConstMatrixView own, MatrixView all) {
    for (Index slot = 0; slot < all_slots; ++slot)
      std::copy_n(own.row_data(slot), dim, all.row_data(slot_row(groups, g, slot)));
  }

  /// f(expert, first row, rows, arena) for blocks of the slots of each expert.
  template <class F>
  static void each_block(Index groups, Workspace& workspace, F f) {
    const Index rows = groups * slots, blocks = ceil_div(rows, Index{BankType::block_rows});
    workspace.parallel(experts * blocks, [&](Index task, Arena& arena) {
      const Index expert = task / blocks, block = task % blocks, first = rows * block / blocks;
      f(expert, expert * rows + first, rows * (block + 1) / blocks - first, arena);
    });
  }

  // d_outputs become those before the mask of outputs.
  void experts_backward(Index groups, const Saved& saved, const ExpertMasks& masks, MatrixView d_outputs,
                        MatrixView d_inputs, SoftMlp& grads, Workspace& workspace) const {
    using X = typename BankType::ExpertType;
    Arena& shared = workspace.shared();
    const Arena::Scope scope_of_hidden(shared);
    const Index slot_rows = groups * all_slots, own = groups * slots;
    const MatrixView d_hidden(shared.template take<float>(slot_rows * X::saved_width), slot_rows, X::saved_width);
    const auto weights = shared.template take<typename X::Transposed>(experts);
    for (Index expert = 0; expert < experts; ++expert) weights[expert] = bank_.expert(expert).transposed(workspace);
    each_block(groups, workspace, [&](Index expert, Index first, Index count, Arena& arena) {
      for (Index row = first; row < first + count; ++row) masks.outputs.apply(row, d_outputs.row_data(row), dim);
      X::backward_rows(weights[expert], d_outputs.rows_of(first, count), saved.hidden.rows_of(first, count),
                       d_hidden.rows_of(first, count), d_inputs.rows_of(first, count), arena, masks.hidden.from(first));
    });
    const auto rows_of = [&](Index expert) {
      const auto part = [&](MatrixView all) { return all.rows_of(expert * own, own); };
      return ExpertRows{part(saved.inputs), part(saved.hidden), part(d_hidden), part(d_outputs)};
    };
    grads.bank_.add_gradients(bank_, rows_of, workspace);
  }

  static void mixing_backward(const SoftPlan& plan, Index g, ConstMatrixView x, bool bf16, const Saved& saved,
                              ConstMatrixView d_branch, ConstMatrixView d_inputs, MatrixView d_logits, MatrixView d_x,
                              Arena& arena) {
    const Index group = plan.group, first = g * group;
    const MatrixView tokens(arena.take<float>(group * dim), group, dim);
    const MatrixView outputs(arena.take<float>(all_slots * dim), all_slots, dim);
    const MatrixView d_own(arena.take<float>(all_slots * dim), all_slots, dim);
    for (Index token = 0; token < group; ++token) std::copy_n(x.row_data(first + token), dim, tokens.row_data(token));
    if (bf16) simd::round_row_to_bf16(tokens.data(), group * dim);
    gather_slots(plan.groups, g, saved.outputs, outputs);
    gather_slots(plan.groups, g, d_inputs, d_own);
    soft_mixing_gradient({tokens, plan.combine_of(g), plan.dispatch_of(g), outputs}, d_branch.rows_of(first, group),
                         d_own, d_logits.rows_of(first, group), d_x.rows_of(first, group), arena);
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
    each_block(groups, workspace, [&](Index expert, Index first, Index count, Arena& arena) {
      const MatrixView y = outputs.rows_of(first, count);
      bank_.forward(expert, inputs.rows_of(first, count), y, arena);
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
