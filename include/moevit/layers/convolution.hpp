/// Convolution over feature maps: a product of unfolded windows with packed weights, or, where it pays, of fewer
/// numbers (winograd.hpp).
#pragma once

#include <moevit/layers/convolution_gradient.hpp>
#include <moevit/layers/window_chunks.hpp>
#include <moevit/layers/winograd.hpp>

namespace moevit {

/// Rows that a worker unfolds at a time: windows and results fill about half a megabyte, so that weights are read once
/// per block while the windows stay in the L2 cache.
constexpr Index convolution_block_rows(Index values, Index outputs) {
  constexpr Index budget = 512 * 1024 / static_cast<Index>(sizeof(float));
  return std::clamp(budget / (values + outputs) / 14 * 14, Index{28}, Index{112});
}

/// The same where windows are unfolded a chunk of `width` floats at a time, and sums wait between chunks: all weights,
/// which fit no cache near the core, are read once per block, so blocks are as large as is bearable. With AVX-512, a
/// convolution of 2048 to 512 channels took 1.15 times as long with blocks for the L2 cache.
constexpr Index chunked_convolution_rows(Index width, Index outputs) {
  constexpr Index budget = 2800 * 1024 / static_cast<Index>(sizeof(float));
  return std::clamp(budget / (width + outputs) / 14 * 14, Index{28}, Index{1008});
}

/// y = x * W + b over maps of any size with `inputs` channels; places outside of a map count as zeros. The kernel is
/// kernel x kernel x inputs x outputs. Windows are unfolded a block of places at a time, and wide ones a chunk of them
/// at a time, never the whole map; those of one place are multiplied where they lie. Large maps of many channels go
/// through Winograd, with other bits than the windows of small ones. An epilogue has no factors.
template <Index inputs, Index outputs, ConvolutionWindow window, bool has_bias = true>
class Convolution {
  static_assert(inputs > 0 && outputs > 0, "Convolution: widths must be positive");
  static_assert(window.is_valid(), "Convolution: kernel and stride must be positive, the padding less than the kernel");
  static constexpr Index values = window.taps() * inputs;
  using Product = Linear<values, outputs, has_bias>;
  using Gradient = ConvolutionGradient<inputs, outputs, window>;
  using Chunks = WindowChunks<inputs, window>;
  using Filtering = Winograd<inputs, outputs, window>;

 public:
  static constexpr Index block_rows = convolution_block_rows(values, outputs);

  static constexpr MapSize result_size(MapSize size) { return window.result_size(size); }

  /// Of one image, with the zeros around its map.
  static constexpr Index multiply_adds(MapSize size) { return result_size(size).places() * values * outputs; }

  static constexpr ScratchBytes scratch(Index images, MapSize size) {
    const Index rows = images * result_size(size).places(), block = largest_block(rows, block_rows);
    Index bytes = arena_bytes<float>(values) + Product::scratch_bytes(block);
    if (Chunks::are_useful) bytes = std::max(bytes, chunked_bytes(largest_block(rows, chunked_rows)));
    if (!Filtering::is_useful_for(result_size(size))) return {0, bytes};
    return one_after_the_other({0, bytes}, Filtering::scratch(images, result_size(size)));
  }

  /// y = epilogue(x * W + b) with x: (images * places) x inputs and y: (images * places of the result) x outputs; what
  /// the epilogue has per row belongs to the rows of y, its own bias is replaced. Its residual may be y.
  void forward(ConstMatrixView x, MapSize size, Index images, MatrixView y, Workspace& workspace,
               const simd::Epilogue& epilogue = {}) const {
    if constexpr (Filtering::is_possible)
      if (Filtering::is_useful_for(result_size(size)) && Filtering::takes(product_.kernel()))
        return forward_filtered(x, size, images, y, workspace, epilogue);
    if constexpr (Chunks::are_useful)
      if (simd::goes_on(product_.kernel())) return forward_in_chunks(x, size, images, y, workspace, epilogue);
    const MapSize result = result_size(size);
    workspace.parallel_rows(images * result.places(), block_rows, [&](Index first, Index count, Arena& arena) {
      const simd::RowTiles windows = product_.take_input(count, arena);
      float* room = arena.take<float>(values);
      simd::fill_tiles(windows, [&](Index row) -> const float* {
        if constexpr (window.is_pointwise()) return x.row_data(first + row);
        unfold_window<window>(x, size, place_of(first + row, result), room);
        return room;
      });
      product_.forward(windows, simd::RowsOut{y.row_data(first), y.stride()}, of_rows_from(first, epilogue));
    });
  }

  /// The gradient of forward() without epilogue: from dy that of x, assigned to dx unless dx has no rows, and those of
  /// the weights, added to grads.
  void backward(ConstMatrixView x, ConstMatrixView dy, MapSize size, Index images, Convolution& grads, MatrixView dx,
                Workspace& workspace) const {
    Gradient::add_weights(x, dy, size, images, grads.product_.gradient(), workspace);
    if (dx.rows() > 0) Gradient::input(product_.kernel(), dy, size, images, dx, workspace);
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize size) {
    return one_after_the_other(scratch(images, size), Gradient::scratch(images, size));
  }

  /// Parameters `prefix`.kernel, of shape {kernel, kernel, inputs, outputs}, and `prefix`.bias.
  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, Role role, const ParameterVisitor<Self>& visit) {
    Product::each_parameter(self.product_, prefix, role, [&](auto&& parameter) {
      if (parameter.shape.size() == 2) parameter.shape = {window.kernel, window.kernel, inputs, outputs};
      visit(std::move(parameter));
    });
  }

 private:
  static constexpr Index chunked_rows = chunked_convolution_rows(Chunks::width, outputs);

  static constexpr Index chunked_bytes(Index rows) {
    return arena_bytes<MapPlace>(rows) + arena_bytes<float>(Chunks::width) + tiles_bytes(rows, Chunks::width) +
           arena_bytes<float>(simd::waiting_sums(rows, outputs));
  }

  /// An epilogue for the rows of y from `first` on.
  static simd::Epilogue of_rows_from(Index first, simd::Epilogue epilogue) {
    if (epilogue.residual) epilogue.residual += first * epilogue.residual_stride;
    if (epilogue.row_scale) epilogue.row_scale += first;
    return epilogue;
  }

  void forward_filtered(ConstMatrixView x, MapSize size, Index images, MatrixView y, Workspace& workspace,
                        simd::Epilogue epilogue) const {
    epilogue.bias = product_.bias();
    Filtering::forward(product_.kernel(), x, size, images, y, result_size(size), epilogue, workspace);
  }

  void forward_in_chunks(ConstMatrixView x, MapSize size, Index images, MatrixView y, Workspace& workspace,
                         const simd::Epilogue& epilogue) const {
    const MapSize result = result_size(size);
    workspace.parallel_rows(images * result.places(), chunked_rows, [&](Index first, Index count, Arena& arena) {
      MapPlace* const corners = arena.take<MapPlace>(count);
      for (Index row = 0; row < count; ++row) corners[row] = window.corner_of(place_of(first + row, result));
      float* const room = arena.take<float>(Chunks::width);
      std::byte* const tiles = arena.take<std::byte>(count * simd::tiled_row_bytes(Chunks::width));
      float* const sums = arena.take<float>(simd::waiting_sums(count, outputs));
      simd::Epilogue own = of_rows_from(first, epilogue);
      own.bias = product_.bias();
      Index begin = 0;
      Chunks::each([&](const WindowChunk& chunk) {
        const Index width = chunk.taps * chunk.channels;
        const simd::RowTiles part = simd::empty_tiles(count, width, product_.kernel(), tiles);
        simd::fill_tiles(part, [&](Index row) { return Chunks::find(x, size, corners[row], chunk, room); });
        simd::gemm_chunk(part, begin, product_.kernel(), sums, own, simd::RowsOut{y.row_data(first), y.stride()});
        begin += width;
      });
    });
  }

  Product product_;
};

}  // namespace moevit
