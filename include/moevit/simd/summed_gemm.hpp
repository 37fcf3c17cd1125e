/// y = epilogue(x (A + B)) with x in tiles of rows and A and B in panels: the sum never exists as a whole.
///
/// How it works: as gemm(), but a group of columns is cut into chunks of rows, and the first tile of each chunk adds B
/// to A on the way to its multiply-adds and leaves the sum in a room that stays in a near cache, where the other tiles
/// find it. Adding takes place in the shadow of multiply-adds, and the chunk behind is asked for meanwhile, so that it
/// costs little more than reading A would. Sums that go on from chunk to chunk wait in memory: the same chain of
/// multiply-adds for every element as in gemm(), and so the same bits.
#pragma once

#include <moevit/simd/gemm.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Floats of the room of gemm_of_sum() for `rows` rows of x and matrices of `inner` rows.
constexpr Index sum_room_size(Index rows, Index inner) { return 32 * (rows + inner); }

namespace detail {

/// Rows of a chunk. The sum of one takes 24 KB with AVX2, and what is asked for of the next one twice that, so that
/// both stay in the L2 cache while all tiles pass; sums go to memory and back once in so many steps.
inline constexpr Index summed_chunk = 384;

/// Some rows of a group of columns of A and B.
struct SummedChunk {
  const float* a = nullptr;  ///< first row; the next one is `panel` floats on
  const float* b = nullptr;  ///< the same
  Index panel = 0;
  Index rows = 0;
  Index columns = 0;
  float* sum = nullptr;  ///< room: rows x columns
};

/// multiply_tile with the sum of a chunk, which is left in the chunk's room, for weights.
template <class Step, class Arch, int rows, int vectors>
void multiply_summing_tile(const TileCall& call, const SummedChunk& chunk) {
  using B = Batch<Arch>;
  B sum[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[r][v] = Step::start(call, r, v);
  const std::byte* x = call.x;
  const float *a = chunk.a, *b = chunk.b;
  float* out = chunk.sum;
  Ahead ahead = call.ahead;
  for (Index left = chunk.rows; left > 0; left -= line_bytes / 4, x += rows * line_bytes) {
    const std::byte* unit = x;
    ask_ahead(ahead);
    for (Index step = std::min(line_bytes / 4, left); step > 0; --step, unit += 4) {
      B w[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        w[v] = B::load_aligned(a + v * lanes<Arch>) + B::load_aligned(b + v * lanes<Arch>);
        w[v].store_aligned(out + v * lanes<Arch>);
      }
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) Step::add(unit + r * line_bytes, 0, w, sum[r]);
      a += chunk.panel, b += chunk.panel, out += vectors * lanes<Arch>;
    }
  }
  Step::add_terms(call, sum);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) Step::finish(call, r, v, sum[r][v]);
}

using MultiplySummingTile = void (*)(const TileCall&, const SummedChunk&);

template <class Step, class Arch, int vectors>
inline constexpr auto summing_heights = []<int... r>(std::integer_sequence<int, r...>) {
  return std::array<MultiplySummingTile, sizeof...(r)>{&multiply_summing_tile<Step, Arch, r + 1, vectors>...};
}
(std::make_integer_sequence<int, tile_rows<Arch>>{});

/// A tile times the sum of a chunk, which it makes if it is the first one.
template <class Step, class Arch>
void multiply_chunk_tile(const TileCall& call, const SummedChunk& chunk, bool is_first) {
  if (!is_first) return multiply_any_tile<Arch, Step>(call);
  const auto& heights =
      call.columns == Step::width ? summing_heights<Step, Arch, 1> : summing_heights<Step, Arch, tile_vectors>;
  heights[static_cast<std::size_t>(call.rows - 1)](call, chunk);
}

/// A product with A + B on its way through groups of columns and their chunks.
template <class Arch>
class SummedProduct {
 public:
  SummedProduct(const RowTiles& x, const PackedView& a, const PackedView& b, float* room)
      : tiles_(x.tiles()),
        a_(a),
        b_(b),
        most_(std::min(summed_chunk, a.rows)),
        step_(std::min(kernel.columns, a.panel)),
        room_(room) {}

  template <class Out>
  void run(const Epilogue& epilogue, const Out& y) const {
    for (Index first = 0; first < a_.cols; first += step_)
      for (Index row = 0; row < a_.rows; row += most_) multiply_chunk(first, row, epilogue, y);
  }

 private:
  static constexpr const TileKernel& kernel = float_kernel<Arch>;

  SummedChunk chunk_at(Index first, Index row) const {
    const Index offset = first / a_.panel * a_.rows * a_.panel + row * a_.panel + first % a_.panel;
    const Index columns = round_up(std::min(step_, a_.cols - first), kernel.lanes);
    return {a_.floats() + offset, b_.floats() + offset, a_.panel, std::min(most_, a_.rows - row), columns, room_};
  }
  /// The chunk behind one, of no rows behind the last.
  SummedChunk chunk_behind(Index first, Index row) const {
    if (row + most_ < a_.rows) return chunk_at(first, row + most_);
    return first + step_ < a_.cols ? chunk_at(first + step_, 0) : SummedChunk{};
  }
  /// What tile `number` asks for of the chunk behind its own, which has `rows` rows.
  Ahead ahead_of(const SummedChunk& next, Index rows, Index number) const {
    const bool is_whole = next.columns == next.panel;  // rows of the panel follow each other
    const Index step = is_whole ? line_bytes : next.panel * 4, all = next.rows * (is_whole ? next.panel * 4 / step : 1);
    const Index lines_of_x = ceil_div(rows, 16), lines = ceil_div(all, lines_of_x * tiles_.count());
    const Index first = number * lines * lines_of_x;
    if (first >= all) return {};
    const auto from = [&](const float* data) { return reinterpret_cast<const std::byte*>(data) + first * step; };
    return {{from(next.a), from(next.b)}, step, lines, all - first};
  }

  template <class Out>
  void multiply_chunk(Index first, Index row, const Epilogue& epilogue, const Out& y) const {
    const SummedChunk chunk = chunk_at(first, row), next = chunk_behind(first, row);
    TileCall call;
    call.weights = reinterpret_cast<const std::byte*>(room_), call.panel = call.columns = chunk.columns;
    call.units = chunk.rows;
    for (Index number = 0; number < tiles_.count(); ++number) {
      RowTile tile = tiles_[number];
      tile.data += row / 16 * tile.line_step;
      float* const sums = room_ + 32 * (most_ + tile.first_row);  // of the chunks before
      if (row > 0) call.start = sums;
      call.ahead = ahead_of(next, chunk.rows, number);
      const auto multiply = [&](const TileCall& whole) {
        multiply_chunk_tile<FloatStep<Arch>, Arch>(whole, chunk, number == 0);
      };
      if (row + most_ >= a_.rows) {
        const ColumnGroup group{first, std::min(step_, a_.cols - first), chunk.columns};
        multiply_tile_to<Arch>(multiply, tile, call, group, epilogue, y);
      } else {
        call.x = tile.data, call.x_line = tile.line_step, call.rows = tile.rows, call.out = sums,
        call.out_stride = chunk.columns;
        multiply(call);
      }
    }
  }

  TileList tiles_;
  const PackedView &a_, &b_;
  Index most_;   ///< rows of a chunk
  Index step_;   ///< columns of a group
  float* room_;  ///< the sum of a chunk, then 32 sums for each row of x
};

#if defined(MOEVIT_COMPILED)
/// The same with the kernels that were chosen at run time: panel by panel, each added up before it is used.
template <class Out>
void multiply_summed_panels(const RowTiles& x, const PackedView& a, const PackedView& b, const Epilogue& epilogue,
                            const Out& y, float* room) {
  for (Index panel = 0; panel < a.panels(); ++panel) {
    const Index size = a.rows * a.panel, first = panel * a.panel;
    for (Index i = 0; i < size; ++i) room[i] = a.floats()[panel * size + i] + b.floats()[panel * size + i];
    const PackedView sum{
        .data = room, .rows = a.rows, .cols = std::min(a.panel, a.cols - first), .panel = a.panel, .kernel = a.kernel};
    gemm(x, sum, epilogue.from_column(first), y.from_column(first));
  }
}
#endif

}  // namespace detail

/// y[x.rows x a.cols] = epilogue(x (A + B)) with the bits of gemm() with the sum. a and b: floats, of one shape; room:
/// sum_room_size(x.rows, a.rows) floats on a cache line. x was tiled for a; for y see gemm(). The epilogue has no
/// factors.
template <class Arch = DefaultArch, class Out>
void gemm_of_sum(const RowTiles& x, const PackedView& a, const PackedView& b, const Epilogue& epilogue, const Out& y,
                 float* room) {
  assert(x.most_rows == kernel_of<Arch>(a).most_rows && a.rows == b.rows && a.cols == b.cols);
  assert(epilogue.factors.rank == 0);
  if (x.rows == 0) return;
#if defined(MOEVIT_COMPILED)
  detail::multiply_summed_panels(x, a, b, epilogue, y, room);
#else
  detail::SummedProduct<Arch>(x, a, b, room).run(epilogue, y);
#endif
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
