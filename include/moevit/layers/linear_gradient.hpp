/// Gradients of the weights of a Linear layer, with run-time sizes.
#pragma once

#include <moevit/core/workspace.hpp>
#include <moevit/simd/transposed_product.hpp>

#include <algorithm>
#include <array>

namespace moevit {

/// Where the gradient of a Linear layer is added up: its kernel in panels and its bias, which may be null.
struct LinearGradient {
  float* kernel = nullptr;
  float* bias = nullptr;
  Index inputs = 0;
  Index outputs = 0;

  Index panel() const { return simd::panel_width(outputs); }
  Index panels() const { return ceil_div(outputs, panel()); }
};

/// Rows that are multiplied at once: of x at most 256 KiB, which stay in the L2 cache while all panels of dy pass.
constexpr Index gradient_block_rows(Index inputs) {
  return std::clamp(Index{64 * 1024} / inputs, Index{64}, Index{256});
}

/// Bytes that a worker needs for the gradient of weights from up to `rows` rows.
constexpr Index weight_gradient_bytes(Index rows) {
  return arena_bytes<float>(simd::packed_size(largest_block(rows, gradient_block_rows(1)), 32));
}

namespace detail {

/// sums[0, cols) += the columns of a panel; its other columns are zero.
inline void add_column_sums(const float* panel_data, Index rows, Index panel, Index cols, float* sums) {
  std::array<float, 32> own{};  // a local one may stay in registers
  for (Index row = 0; row < rows; ++row)
    for (Index col = 0; col < panel; ++col) own[static_cast<std::size_t>(col)] += panel_data[row * panel + col];
  for (Index col = 0; col < cols; ++col) sums[col] += own[static_cast<std::size_t>(col)];
}

/// kernel += x^T dy and bias += column sums of dy for one panel of columns and `count` rows of the kernel; the bias
/// only with its first rows. room: x.rows() x panel.
inline void add_panel_gradient(ConstMatrixView x, ConstMatrixView dy, const LinearGradient& gradient, Index number,
                               Index first, Index count, float* room) {
  const Index panel = gradient.panel(), col = number * panel, cols = std::min(panel, gradient.outputs - col);
  simd::pack_panel(dy.data() + col, dy.stride(), dy.rows(), cols, panel, room);
  const simd::PackedView packed{.data = room, .rows = dy.rows(), .cols = cols, .panel = panel};
  float* kernel = gradient.kernel + number * gradient.inputs * panel + first * panel;
  simd::add_transposed_product(x.data(), x.stride(), first, count, packed, {kernel, panel, 0});
  if (gradient.bias && first == 0) add_column_sums(room, dy.rows(), panel, cols, gradient.bias + col);
}

/// The gradient of `units` parts of the kernel from number `unit` on, each `1 / parts` of a panel. Sums run over rising
/// rows, in blocks of gradient_block_rows.
inline void add_units_gradient(ConstMatrixView x, ConstMatrixView dy, const LinearGradient& gradient, Index parts,
                               Index unit, Index units, Arena& arena) {
  const Arena::Scope scope(arena);
  const Index block = gradient_block_rows(gradient.inputs);
  float* room = arena.take<float>(largest_block(x.rows(), block) * gradient.panel());
  for (Index row = 0; row < x.rows(); row += block) {
    const Index rows = std::min(block, x.rows() - row);
    for (Index number = unit; number < unit + units; ++number) {
      const Index part = number % parts, first = gradient.inputs * part / parts;
      add_panel_gradient(x.rows_of(row, rows), dy.rows_of(row, rows), gradient, number / parts, first,
                         gradient.inputs * (part + 1) / parts - first, room);
    }
  }
}

}  // namespace detail

/// One of `count` nearly equal parts of some work.
struct Share {
  Index number = 0;
  Index count = 1;
};

/// kernel += x^T dy, bias += column sums of dy, for a share of the kernel, on the calling thread: whatever the number
/// of shares, all of them together give the same bits. x: rows x inputs, dy: rows x outputs.
inline void add_weight_gradient(ConstMatrixView x, ConstMatrixView dy, const LinearGradient& gradient, Share share,
                                Arena& arena) {
  const Index parts = std::min(ceil_div(share.count, gradient.panels()), gradient.inputs);
  const Index units = gradient.panels() * parts, first = units * share.number / share.count;
  detail::add_units_gradient(x, dy, gradient, parts, first, units * (share.number + 1) / share.count - first, arena);
}

/// The whole of it on all workers.
inline void add_weight_gradient(ConstMatrixView x, ConstMatrixView dy, const LinearGradient& gradient,
                                Workspace& workspace) {
  const Index shares = workspace.workers();
  workspace.parallel(shares, [&](Index share, Arena& arena) {
    add_weight_gradient(x, dy, gradient, {share, shares}, arena);
  });
}

/// The transpose of packed floats, for dx = dy W^T; packed_size(w.cols, w.rows) floats of scratch.
inline simd::PackedView transposed_weights(const simd::PackedView& w, Arena& arena) {
  float* room = arena.take<float>(simd::packed_size(w.cols, w.rows));
  return simd::transpose_panels(w, room, 0, ceil_div(w.rows, simd::panel_width(w.rows)));
}
/// The same in shared scratch, on all workers.
inline simd::PackedView transposed_weights(const simd::PackedView& w, Workspace& workspace) {
  float* room = workspace.shared().take<float>(simd::packed_size(w.cols, w.rows));
  workspace.parallel(ceil_div(w.rows, simd::panel_width(w.rows)),
                     [&](Index panel, Arena&) { simd::transpose_panels(w, room, panel, panel + 1); });
  return simd::transpose_panels(w, room, 0, 0);
}

/// Bytes of a transposed kernel.
constexpr Index transposed_bytes(Index inputs, Index outputs) {
  return arena_bytes<float>(simd::packed_size(outputs, inputs));
}

}  // namespace moevit
