/// Multi-head self-attention within windows of a map, every other time shifted ones (Swin).
#pragma once

#include <moevit/layers/attention_core_gradient.hpp>
#include <moevit/layers/layer_norm.hpp>
#include <moevit/layers/masks.hpp>
#include <moevit/layers/relative_positions.hpp>
#include <moevit/layers/window_grid.hpp>
#include <moevit/layers/window_rows.hpp>

#include <cmath>

namespace moevit {

/// The numbers of a WindowAttention.
struct WindowAttentionConfig {
  Index dim = 96;
  Index heads = 3;
  Index window = 7;  ///< side in places
  Index shift = 3;   ///< of the windows of odd blocks; 0: never shifted
  bool qkv_bias = true;
  float epsilon = 1e-5f;  ///< of the norm before it

  constexpr bool operator==(const WindowAttentionConfig&) const = default;
};

/// softmax(q k^T / sqrt(head width) + relative position bias + mask) v per head and window, output projection. The
/// normalised map is padded with zeros at the right and bottom to whole windows, and padding takes part as any other
/// place; the mask adds -100 between places that were no neighbours before the roll. Maps of any size; `block` is the
/// number of the block in its stage. Source: Liu et al. 2021, section 3.2.
template <WindowAttentionConfig config>
class WindowAttention {
  static_assert(config.dim % config.heads == 0, "WindowAttention: dim must be a multiple of heads");
  static_assert(config.window > 0 && config.shift >= 0 && config.shift < config.window,
                "WindowAttention: the shift must be smaller than the window");
  static constexpr Index heads = config.heads;
  static constexpr Index head_width = config.dim / heads;
  static constexpr Index area = config.window * config.window;
  static constexpr Index bias_stride = simd::score_bias_stride(area);
  static constexpr Index windows_per_sum = 8;  ///< whose gradients of biases are added up before they meet others
  using Projection = Linear<config.dim, 3 * config.dim, config.qkv_bias>;
  using Output = Linear<config.dim, config.dim>;
  using Positions = RelativePositions<config.window, heads>;

 public:
  static constexpr Index dim = config.dim;
  static constexpr float epsilon = config.epsilon;
  static constexpr Index class_tokens = 0;
  static constexpr Index block_rows = 112;

  /// Scratch for `images` maps.
  static constexpr ScratchBytes scratch(Index images, MapSize map) {
    const Index rows = images * grid_of(map, 0).rows(), block = largest_block(rows, block_rows);
    return {arena_bytes<float>(rows * 3 * dim) + arena_bytes<float>(rows * dim) + biases_bytes,
            std::max({arena_bytes<float>(dim) + Projection::scratch_bytes(block),
                      arena_bytes<float>(simd::attention_scratch(area, head_width)) + bias_bytes,
                      Output::scratch_bytes(block)})};
  }

  /// stream += scale * attention(norm(stream)). scale (layer scale) may be null.
  template <class Norm>
  void forward(const Norm& norm, MatrixView stream, MapSize map, const float* scale, Workspace& workspace,
               Index block) const {
    const Arena::Scope scope(workspace.shared());
    const WindowGrid grid = grid_of(map, block);
    const Saved parts = take_saved(stream.rows() / map.places(), map, workspace.shared());
    project(norm, stream, grid, parts.projected, workspace);
    attend(parts.projected, grid, parts.mixed, workspace);
    put_out(parts.mixed, grid, stream, {.scale = scale, .residual = stream.data(), .residual_stride = stream.stride()},
            workspace, [](Index, Index) {});
  }

  /// What backward() needs of a pass, in window order: queries, keys and values, and the outputs of the heads.
  struct Saved {
    MatrixView projected;  ///< (images * padded places) x 3 dim
    MatrixView mixed;      ///< (images * padded places) x dim

    Saved images_of(Index first, Index count, MapSize map) const {
      const Index rows = grid_of(map, 0).rows();
      return {projected.rows_of(first * rows, count * rows), mixed.rows_of(first * rows, count * rows)};
    }
  };
  static constexpr Index saved_bytes(Index images, MapSize map) {
    const Index rows = images * grid_of(map, 0).rows();
    return arena_bytes<float>(rows * 3 * dim) + arena_bytes<float>(rows * dim);
  }
  static Saved take_saved(Index images, MapSize map, Arena& arena) {
    const Index rows = images * grid_of(map, 0).rows();
    const MatrixView projected(arena.take<float>(rows * 3 * dim), rows, 3 * dim);
    return {projected, {arena.take<float>(rows * dim), rows, dim}};
  }

  /// result = stream + scale * masked attention(norm(stream)), as forward(), filling `saved`.
  template <class Norm>
  void forward_saved(const Norm& norm, ConstMatrixView stream, MapSize map, const float* scale, const Saved& saved,
                     MatrixView result, Workspace& workspace, Index block, const BranchMask& mask = {}) const {
    const Arena::Scope scope(workspace.shared());
    const WindowGrid grid = grid_of(map, block);
    project(norm, stream, grid, saved.projected, workspace);
    attend(saved.projected, grid, saved.mixed, workspace);
    simd::Epilogue epilogue{.scale = scale, .residual = stream.data(), .residual_stride = stream.stride()};
    if (mask.is_active()) epilogue = {};
    put_out(saved.mixed, grid, result, epilogue, workspace, [&](Index first, Index count) {
      if (mask.is_active())
        add_masked_branch(stream.rows_of(first, count), scale, mask.from(first), result.rows_of(first, count));
    });
  }

  /// The gradient of y = x + attention(norm(x)) for rows x: d_stream, the gradient of y, becomes that of x. `d_branch`
  /// is the gradient of attention(norm(x)), which may be d_stream itself.
  template <class Norm>
  void backward(const Norm& norm, ConstMatrixView x, MapSize map, const Saved& saved, ConstMatrixView d_branch,
                WindowAttention& grads, Norm& norm_grads, MatrixView d_stream, Workspace& workspace,
                Index block) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const WindowGrid grid = grid_of(map, block);
    const Index rows = saved.projected.rows();
    const MatrixView d_projected(shared.take<float>(rows * 3 * dim), rows, 3 * dim);
    output_backward(saved, grid, d_branch, grads, d_projected, workspace);
    const MatrixView normed(shared.take<float>(rows * dim), rows, dim);
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) norm_row(norm, x, grid, row, normed.row_data(row));
    });
    add_weight_gradient(normed, d_projected, grads.projection_.gradient(), workspace);
    multiply_by_transposed(projection_.kernel(), d_projected, normed, workspace);  // normed is not needed any more
    const MatrixView d_normed(shared.take<float>(x.rows() * dim), x.rows(), dim);
    to_map_order(normed, grid, d_normed, workspace);
    norm.backward(x, d_normed, norm_grads, d_stream, config.epsilon, workspace);
  }

  /// Scratch of forward_saved() and backward().
  static constexpr ScratchBytes training_scratch(Index images, MapSize map) {
    const WindowGrid grid = grid_of(map, 0);
    const Index rows = images * grid.rows(), places = images * map.places(), block = largest_block(rows, block_rows);
    const Index core = arena_bytes<float>(places * dim) + biases_bytes + sums_bytes(images * grid.windows()) +
                       Output::transposed_bytes;
    const Index ends = arena_bytes<float>(rows * dim) + arena_bytes<float>(places * dim) +
                       std::max(Projection::transposed_bytes, LayerNorm<dim>::backward_bytes(places));
    const Index heads_bytes =
        attention_core_gradient_bytes(area, head_width) + bias_bytes + arena_bytes<float>(area * head_width);
    return {arena_bytes<float>(rows * 3 * dim) + std::max(core, ends),
            std::max({scratch(images, map).per_worker, heads_bytes, tiles_bytes(block, 3 * dim),
                      weight_gradient_bytes(rows)})};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    const char* names[] = {"query", "key", "value"};
    for (Index part = 0; part < 3; ++part) {
      const std::string name = join_name(prefix, names[part]);
      visit(Projection::columns(self.projection_, join_name(name, "kernel"), part * dim, dim, Role::attention));
      if constexpr (config.qkv_bias)
        visit(Projection::bias_columns(self.projection_, join_name(name, "bias"), part * dim, dim, Role::attention));
    }
    Positions::each_parameter(self.positions_, join_name(prefix, "relative_position_bias"), visit);
    Output::each_parameter(self.output_, join_name(prefix, "output"), Role::attention, visit);
  }

 private:
  static constexpr Index bias_bytes = arena_bytes<float>(area * bias_stride) + window_mask_bytes(area);
  static constexpr Index biases_bytes = arena_bytes<float>(heads * area * bias_stride);
  static constexpr Index sums_bytes(Index windows) {
    return arena_bytes<float>(ceil_div(windows, windows_per_sum) * heads * Positions::differences);
  }
  static constexpr WindowGrid grid_of(MapSize map, Index block) {
    return {map, config.window, block % 2 == 1 ? config.shift : 0};
  }
  static float head_factor() { return 1.f / std::sqrt(static_cast<float>(head_width)); }

  /// The normalised place that a row in window order stands for, zeros for padding.
  template <class Norm>
  static void norm_row(const Norm& norm, ConstMatrixView x, const WindowGrid& grid, Index row, float* out) {
    const Index place = grid.place_of(row % grid.rows());
    if (place < 0)
      std::fill_n(out, dim, 0.f);
    else
      norm.forward_row(x.row_data(row / grid.rows() * grid.map().places() + place), out, config.epsilon);
  }
  template <class Norm>
  void project(const Norm& norm, ConstMatrixView x, const WindowGrid& grid, MatrixView projected,
               Workspace& workspace) const {
    workspace.parallel_rows(projected.rows(), block_rows, [&](Index first, Index count, Arena& arena) {
      float* row = arena.take<float>(dim);
      const simd::RowTiles normed = projection_.take_input(count, arena);
      simd::fill_tiles(normed, [&](Index number) {
        norm_row(norm, x, grid, first + number, row);
        return row;
      });
      const MatrixView target = projected.rows_of(first, count);
      projection_.forward(normed, simd::RowsOut{target.data(), target.stride()});
    });
  }

  /// result (map order) = epilogue(output projection of mixed rows); then(first, rows) follows each block of rows.
  template <class Then>
  void put_out(ConstMatrixView mixed, const WindowGrid& grid, MatrixView result, const simd::Epilogue& epilogue,
               Workspace& workspace, Then then) const {
    workspace.parallel_rows(result.rows(), block_rows, [&](Index first, Index count, Arena& arena) {
      const simd::RowTiles tiles = output_.take_input(count, arena);
      simd::fill_tiles(tiles, [&](Index row) { return mixed.row_data(grid.row_of_map(first + row)); });
      const MatrixView target = result.rows_of(first, count);
      simd::Epilogue own = epilogue;
      if (own.residual) own.residual += first * own.residual_stride;
      output_.forward(tiles, simd::RowsOut{target.data(), target.stride()}, own);
      then(first, count);
    });
  }

  /// The biases of all heads in units of scores before the factor, in shared scratch: (heads * area) x bias_stride.
  MatrixView take_biases(Workspace& workspace) const {
    const MatrixView biases(workspace.shared().template take<float>(heads * area * bias_stride), heads * area, area,
                            bias_stride);
    workspace.parallel(heads, [&](Index head, Arena&) {
      positions_.expand(head, 1.f / head_factor(), biases.rows_of(head * area, area));
    });
    return biases;
  }
  /// The biases of a head in one window, with the mask if it has one.
  static const float* biases_of(ConstMatrixView biases, const WindowGrid& grid, Index window, Index head,
                                Arena& arena) {
    const float* plain = biases.row_data(head * area);
    if (!grid.is_mixed(window)) return plain;
    const float masked = -100.f / head_factor();
    float* own = arena.take<float>(area * bias_stride);
    std::copy_n(plain, area * bias_stride, own);
    add_window_mask(grid, window, masked, {own, area, area, bias_stride}, arena);
    return own;
  }

  template <class View>
  static HeadParts<View> parts_of(const View& projected, Index window, Index head) {
    auto* base = projected.row_data(window * area) + head * head_width;
    const Index stride = projected.stride();
    return {{base, area, head_width, stride},
            {base + dim, area, head_width, stride},
            {base + 2 * dim, area, head_width, stride}};
  }

  void attend(ConstMatrixView projected, const WindowGrid& grid, MatrixView mixed, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const simd::TileKernel* kernel = projection_.operand_kernel();
    const MatrixView biases = take_biases(workspace);
    workspace.parallel(projected.rows() / area * heads, [&](Index task, Arena& arena) {
      const Index window = task / heads, head = task % heads, stride = projected.stride();
      float* scratch = arena.take<float>(simd::attention_scratch(area, head_width));
      const HeadParts<ConstMatrixView> parts = parts_of(projected, window, head);
      const simd::AttentionHead core{parts.query.data(),
                                     area,
                                     stride,
                                     parts.key.data(),
                                     parts.value.data(),
                                     area,
                                     stride,
                                     head_width,
                                     head_factor(),
                                     kernel,
                                     biases_of(biases, grid, window % grid.windows(), head, arena)};
      simd::attention_head(core, scratch, mixed.row_data(window * area) + head * head_width, dim);
    });
  }

  /// From d_branch (map order) to d_projected (window order), with the gradients of output projection and biases.
  void output_backward(const Saved& saved, const WindowGrid& grid, ConstMatrixView d_branch, WindowAttention& grads,
                       MatrixView d_projected, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index rows = d_branch.rows();
    const MatrixView d_mixed(shared.take<float>(rows * dim), rows, dim);
    to_map_order(saved.mixed, grid, d_mixed, workspace);
    add_weight_gradient(d_mixed, d_branch, grads.output_.gradient(), workspace);
    multiply_by_transposed(output_.kernel(), d_branch, d_mixed, workspace);
    const MatrixView biases = take_biases(workspace);
    const Index windows = saved.projected.rows() / area, groups = ceil_div(windows, windows_per_sum);
    float* sums = shared.take<float>(groups * heads * Positions::differences);
    workspace.parallel(groups * heads, [&](Index task, Arena& arena) {
      const Index first = task / heads * windows_per_sum, last = std::min(first + windows_per_sum, windows);
      float* own = sums + task * Positions::differences;
      std::fill_n(own, Positions::differences, 0.f);
      for (Index window = first; window < last; ++window)
        head_backward(saved.projected, biases, grid, window, task % heads, d_mixed, d_projected, own, arena);
    });
    workspace.parallel(heads, [&](Index head, Arena&) {
      for (Index group = 0; group < groups; ++group)
        grads.positions_.add(head, 1.f / head_factor(), sums + (group * heads + head) * Positions::differences);
    });
  }

  static void head_backward(ConstMatrixView projected, ConstMatrixView biases, const WindowGrid& grid, Index window,
                            Index head, ConstMatrixView d_mixed, MatrixView d_projected, float* sums, Arena& arena) {
    const Arena::Scope scope(arena);
    const Index own = window % grid.windows(), first_place = window / grid.windows() * grid.map().places();
    const MatrixView dy(arena.take<float>(area * head_width), area, head_width);
    for (Index row = 0; row < area; ++row) {
      const Index place = grid.place_of(own * area + row);
      if (place < 0)
        std::fill_n(dy.row_data(row), head_width, 0.f);
      else
        std::copy_n(d_mixed.row_data(first_place + place) + head * head_width, head_width, dy.row_data(row));
    }
    attention_core_gradient(parts_of(projected, window, head), head_factor(), biases_of(biases, grid, own, head, arena),
                            dy, parts_of(d_projected, window, head), arena,
                            [&](ConstMatrixView d) { Positions::add_by_difference(d, sums); });
  }

  Projection projection_;
  Positions positions_;
  Output output_;
};

}  // namespace moevit
