/// The router that scores by angles (Swin-MoE).
#pragma once

#include <moevit/moe/top_k_router.hpp>

#include <array>
#include <cmath>

namespace moevit {

/// Each token takes its k best experts by gates = softmax(cos(x W + b, m_e) / temperature), where the m_e are learned
/// directions of `width` floats, one per expert. What is learned of the temperature is log(1 / temperature), from
/// log 2 on; the temperature never falls below 0.01. Source: Tutel (Hwang et al. 2023), as Swin-MoE uses it.
template <Index dim_, Index experts_, Index width = cosine_router_width>
class CosineRouter {
  using Projection = Linear<dim_, width>;
  using Directions = Linear<width, experts_, false>;
  static constexpr float least_length = 1e-12f;  ///< of what is divided by its length

 public:
  static constexpr Index dim = dim_;
  static constexpr Index experts = experts_;
  static constexpr RouterScope scope = RouterScope::block;

  CosineRouter() : temperature_(1) { temperature_[0] = std::log(2.f); }

  static constexpr ScratchBytes route_scratch(Index rows) {
    const Index block = largest_block(rows, router_block_rows);
    return {directions_bytes, arena_bytes<float>(block * width) +
                                  std::max(Projection::scratch_bytes(block), Directions::scratch_bytes(block))};
  }

  /// Fills routing.plan.
  void route(const RouteRequest& request, Routing& routing) const {
    route_top_k<1>(request, experts, routing, [&](MatrixView logits) {
      Workspace& workspace = request.workspace;
      const Arena::Scope scope_of_directions(workspace.shared());
      const simd::PackedView directions = take_directions(inverse_temperature(), workspace.shared());
      workspace.parallel_rows(logits.rows(), router_block_rows, [&](Index first, Index count, Arena& arena) {
        const MatrixView projected(arena.take<float>(count * width), count, width);
        projection_.forward(request.tokens.rows_of(first, count), projected, arena);
        for (Index row = 0; row < count; ++row) normalise(projected.row_data(row));
        multiply_rows(projected, directions, logits.rows_of(first, count), arena);
      });
    });
  }

  /// See LearningRouter.
  void backward(const RouteRequest& request, const Routing& routing, const PlanGradient& plan,
                const AddLossGradient& add_losses, CosineRouter& grads, MatrixView dx) const {
    Workspace& workspace = request.workspace;
    Arena& shared = workspace.shared();
    const Arena::Scope scope_of_rows(shared);
    const Index rows = request.tokens.rows();
    const auto take = [&](Index columns) { return MatrixView(shared.take<float>(rows * columns), rows, columns); };
    const MatrixView d_logits = take(experts);
    gate_gradient(routing, plan.weights, request.options, 1, d_logits, request.workspace);
    softmax_gradient(routing.gates(), d_logits, request.workspace);
    if (add_losses) add_losses(routing, d_logits);
    if (request.wants_random()) return;  // the logits came from nowhere
    grads.add_temperature_gradient(routing.logits(), d_logits, is_bounded());
    const MatrixView unit = take(width), d_unit = take(width);
    float* lengths = shared.take<float>(rows);
    workspace.parallel_rows(rows, router_block_rows, [&](Index first, Index count, Arena& arena) {
      projection_.forward(request.tokens.rows_of(first, count), unit.rows_of(first, count), arena);
      for (Index row = first; row < first + count; ++row) lengths[row] = normalise(unit.row_data(row));
    });
    directions_backward(unit, d_logits, grads, d_unit, workspace);
    workspace.parallel_rows(rows, router_block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row)
        normalise_gradient(unit.row_data(row), lengths[row], d_unit.row_data(row));
    });
    add_weight_gradient(request.tokens, d_unit, grads.projection_.gradient(), workspace);
    add_product_by_transposed(projection_.kernel(), d_unit, dx, workspace);
  }
  static constexpr ScratchBytes backward_scratch(Index rows) {
    const Index block = largest_block(rows, router_block_rows);
    return {arena_bytes<float>(rows * experts) + 2 * arena_bytes<float>(rows * width) + arena_bytes<float>(rows) +
                std::max(2 * directions_bytes + Directions::transposed_bytes, Projection::transposed_bytes),
            std::max({Projection::scratch_bytes(block), added_product_bytes(rows, width, dim),
                      tiles_bytes(largest_block(rows, 56), experts), weight_gradient_bytes(rows)})};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Projection::each_parameter(self.projection_, join_name(prefix, "projection"), Role::router, visit);
    visit(Directions::columns(self.directions_, join_name(prefix, "similarity"), 0, experts, Role::router));
    visit(plain_parameter<ParameterValue<Self>>(join_name(prefix, "temperature"), self.temperature_.data(), {1},
                                                Role::router));
  }

 private:
  static constexpr Index directions_bytes = arena_bytes<float>(simd::packed_size(width, experts));
  static constexpr ParameterLayout layout{
      .rows = width, .cols = experts, .first_column = 0, .panel = simd::panel_width(experts)};

  static float largest_log() { return std::log(1.f / 0.01f); }
  bool is_bounded() const { return temperature_[0] > largest_log(); }
  float inverse_temperature() const { return std::exp(std::min(temperature_[0], largest_log())); }

  /// Divides `width` floats by their length, which is returned.
  static float normalise(float* x) {
    const float length = std::max(std::sqrt(simd::dot_row(x, x, width)), least_length), inverse = 1.f / length;
    for (Index i = 0; i < width; ++i) x[i] *= inverse;
    return length;
  }
  /// d, the gradient of unit = x / length, becomes that of x.
  static void normalise_gradient(const float* unit, float length, float* d) {
    const float along = length > least_length ? simd::dot_row(unit, d, width) : 0.f, inverse = 1.f / length;
    for (Index i = 0; i < width; ++i) d[i] = (d[i] - along * unit[i]) * inverse;
  }

  /// Lengths of the directions.
  std::array<float, static_cast<std::size_t>(experts_)> direction_lengths() const {
    std::array<float, static_cast<std::size_t>(experts_)> lengths;
    const float* values = directions_.kernel().floats();
    for (Index expert = 0; expert < experts; ++expert) {
      float sum = 0.f;
      for (Index i = 0; i < width; ++i) {
        const float value = values[layout.offset(i, expert)];
        sum += value * value;
      }
      lengths[static_cast<std::size_t>(expert)] = std::max(std::sqrt(sum), least_length);
    }
    return lengths;
  }
  /// The directions as a right operand in scratch, `factor` long each.
  simd::PackedView take_directions(float factor, Arena& arena) const {
    simd::PackedView result = directions_.kernel();
    const float* values = result.floats();
    const Index size = simd::packed_size(width, experts);
    float* room = arena.take<float>(size);
    std::fill_n(room, size, 0.f);
    const auto lengths = direction_lengths();
    for (Index expert = 0; expert < experts; ++expert)
      for (Index i = 0; i < width; ++i) {
        const Index place = layout.offset(i, expert);
        room[place] = factor * values[place] / lengths[static_cast<std::size_t>(expert)];
      }
    result.data = room;
    return result;
  }

  /// logits = cos * exp(temperature), so its gradient is the sum of d_logits * logits; none where it is bounded.
  void add_temperature_gradient(ConstMatrixView logits, ConstMatrixView d_logits, bool bounded) {
    double sum = 0;
    for (Index row = 0; row < logits.rows(); ++row)
      sum += double{simd::dot_row(logits.row_data(row), d_logits.row_data(row), experts)};
    if (!bounded) temperature_[0] += static_cast<float>(sum);
  }

  /// d_unit (assigned) from d_logits; the directions' gradient is added to grads.
  void directions_backward(ConstMatrixView unit, ConstMatrixView d_logits, CosineRouter& grads, MatrixView d_unit,
                           Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope_of_directions(shared);
    const simd::PackedView scaled = take_directions(inverse_temperature(), shared);
    multiply_by_transposed(scaled, d_logits, d_unit, workspace);
    const Index size = simd::packed_size(width, experts);
    float* d = shared.take<float>(size);
    std::fill_n(d, size, 0.f);
    add_weight_gradient(unit, d_logits, LinearGradient{d, nullptr, width, experts}, workspace);
    const float factor = inverse_temperature();
    const auto lengths = direction_lengths();
    float* target = grads.directions_.gradient().kernel;
    for (Index expert = 0; expert < experts; ++expert) {
      const float length = lengths[static_cast<std::size_t>(expert)];
      float along =
          0.f;  // of d, which is that of factor * direction / length, along scaled = factor * direction / length
      for (Index i = 0; i < width; ++i) {
        const Index place = layout.offset(i, expert);
        along += d[place] * scaled.floats()[place];
      }
      for (Index i = 0; i < width; ++i) {
        const Index place = layout.offset(i, expert);
        target[place] += (factor * d[place] - along * scaled.floats()[place] / factor) / length;
      }
    }
  }

  Projection projection_;
  Directions directions_;
  AlignedBuffer<float> temperature_;
};

}  // namespace moevit
