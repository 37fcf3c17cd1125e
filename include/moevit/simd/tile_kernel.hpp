/// The microkernel of all products with vector registers: one tile of rows times a group of columns.
#pragma once

#include <moevit/simd/row_tiles.hpp>

#include <array>
#include <utility>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Memory that is asked for while a tile is multiplied, a few lines for each line of x, so that requests never queue:
/// lines `step` bytes apart from each of two addresses on.
struct Ahead {
  const std::byte* first[2] = {nullptr, nullptr};
  Index step = 0;
  Index lines = 0;  ///< for each line of x; 0: nothing is asked for
  Index left = 0;   ///< lines to ask for, from each of the addresses

  /// `bytes` bytes from `memory` on, spread evenly over so many lines of x.
  static Ahead over(const std::byte* memory, Index bytes, Index lines_of_x) {
    const Index half = ceil_div(bytes / line_bytes, Index{2});
    return {{memory, memory + half * line_bytes}, line_bytes, ceil_div(half, lines_of_x), half};
  }
  /// What is left behind so many lines of x.
  void skip(Index lines_of_x) {
    const Index asked = std::min(lines_of_x * lines, left);
    for (const std::byte*& place : first) place += asked * step;
    left -= asked;
  }
};

/// One tile of a product, or several of one height. With a kernel whose sums are floats, out = row_scale * (x W + left
/// right + bias) + residual, on the way from registers to memory, so that they cost no pass of their own. At most one
/// of row_scale and residual is given. Null pointers leave a term out.
struct TileCall {
  const std::byte* x = nullptr;  ///< a tile of `rows` rows
  Index x_line = 0;              ///< bytes from a line of a row to its next one
  Index rows = 0;
  const std::byte* weights =
      nullptr;  ///< the first unit of the first column; the next row of units is `panel` units on
  Index panel = 0;
  Index units = 0;               ///< of a column
  Index columns = 0;             ///< a multiple of the kernel's lanes, at most its columns
  Index rank = 0;                ///< columns of left, rows of right
  const float* left = nullptr;   ///< of the first row, `rank` floats from row to row
  const float* right = nullptr;  ///< of the first column, `panel` floats from row to row
  const float* bias = nullptr;   ///< of the first column
  const float* residual = nullptr;
  Index residual_stride = 0;
  const float* row_scale = nullptr;  ///< of the first row
  /// Column c of row r goes to out + r * out_stride + c / 16 * out_line + c % 16. Floats, or 32-bit integers.
  float* out = nullptr;
  Index out_stride = 0;
  Index out_line = 16;
  Index tiles = 1;     ///< more than one only for kernels whose sums are floats and not all that they give
  Index x_step = 0;    ///< bytes from one tile of x to the next
  Index out_step = 0;  ///< elements of out from one tile to the next
  Ahead ahead = {};
  /// Sums that products go on from, for kernels that do so: rows x columns, on a cache line. Null: zeros.
  const float* start = nullptr;
};

/// A way to multiply tiled rows with packed weights. Chosen when weights are packed; rows are tiled to suit it.
struct TileKernel {
  const char* name = "";
  WeightFormat weights = WeightFormat::float32;
  RowFormat rows = RowFormat::float32;
  Index most_rows = 1;  ///< rows of a tile
  Index columns = 1;    ///< most columns of one call; divides 32
  Index lanes = 1;      ///< the columns of a call are a multiple of this
  void (*multiply)(const TileCall&) = nullptr;
  /// Two tiles with the same weights at once, or null; a kernel that has it gives sums only.
  void (*multiply_two)(const TileCall&, const TileCall&) = nullptr;
  /// Called by the thread that multiplies, before the first tile of a product, with the rows of its highest tile, and
  /// after the last one; or null.
  void (*begin)(Index most_rows) = nullptr;
  void (*end)() = nullptr;
  /// bfloat16 rows: how the machine converts floats to them by itself, as put_bf16_row() but that denormals become
  /// zeros, which the kernel takes them for anyhow. Null: put_bf16_row().
  PutRow put_row = nullptr;
  /// The kernel goes on from the sums at a call's `start`.
  bool goes_on = false;
  /// The kernel only writes the plain sums of products to out, as floats or, for int8 rows, as 32-bit integers.
  bool sums_only = false;
  /// int8: the sums are those of element - 128, so the offsets of the weights are not to be added.
  bool subtracts_offset = false;

  /// Units of a column of weights that meet one line of x.
  constexpr Index units_of_line() const { return line_bytes / row_element_bytes(rows) / rows_per_unit(weights); }
};

namespace detail {

/// Rows of the largest register tile: as many accumulators as the registers hold beside the weights and one broadcast.
template <class Arch>
inline constexpr int tile_rows = register_count<Arch> == 32 ? 14 : 6;

/// Registers side by side in a tile.
inline constexpr int tile_vectors = 2;

/// The call's factors, bias, scale and residual for the sums of a tile. These come after the products: sums that began
/// with a residual would be rounded to its size at every step. Inlined all the way: clang 14 left a call, which the
/// sums were kept in memory for, and products took 2.7 times as long.
template <class Arch, int rows, int vectors>
MOEVIT_ALWAYS_INLINE void add_terms_of_call(const TileCall& call, Batch<Arch> (&sum)[rows][vectors]) {
  using B = Batch<Arch>;
  const auto each_sum = [&](auto change) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) change(sum[r][v], r, v * lanes<Arch>);
  };
  for (Index k = 0; k < call.rank; ++k)
    each_sum([&](B& s, Index row, Index col) {
      s = fma<Arch>(B(call.left[row * call.rank + k]), B::load_unaligned(call.right + k * call.panel + col), s);
    });
  if (call.bias) each_sum([&](B& s, Index, Index col) { s += B::load_unaligned(call.bias + col); });
  if (call.row_scale) each_sum([&](B& s, Index row, Index) { s = rounded<Arch>(s * B(call.row_scale[row])); });
  if (call.residual)
    each_sum(
        [&](B& s, Index row, Index col) { s += B::load_unaligned(call.residual + row * call.residual_stride + col); });
}

/// One multiply-add of floats. A step says how a 32-bit unit of weights meets the units of x that belong to it; every
/// sum runs over k in rising order with one accumulator and fused multiply-adds, so an output depends only on its row
/// of x and its column of W, never on how many rows there are or how they are cut. That is what makes results the same
/// for any batch and any number of threads.
template <class Arch>
struct FloatStep {
  using Sum = Batch<Arch>;
  using Weights = Batch<Arch>;
  static constexpr Index x_units = 1;  ///< of a row, per unit of weights
  static constexpr int parts = 1;      ///< a unit is worked off in as many parts, so that few registers hold weights
  static constexpr Index width = lanes<Arch>;

  static Sum start(const TileCall& call, Index row, Index vector) {
    return call.start ? Sum::load_aligned(call.start + row * call.columns + vector * width) : Sum(0.f);
  }
  template <int rows, int vectors>
  MOEVIT_ALWAYS_INLINE static void add_terms(const TileCall& call, Sum (&sum)[rows][vectors]) {
    add_terms_of_call<Arch>(call, sum);
  }
  static void finish(const TileCall& call, Index row, Index vector, const Sum& sum) {
    const Index col = vector * lanes<Arch>;
    sum.store_unaligned(call.out + row * call.out_stride + col / 16 * call.out_line + col % 16);
  }
  static Weights load(const std::byte* weights, int) {
    return Weights::load_aligned(reinterpret_cast<const float*>(weights));
  }
  template <int vectors>
  static void add(const std::byte* x, int, const Weights (&w)[vectors], Sum (&sum)[vectors]) {
    const Batch<Arch> factor(*reinterpret_cast<const float*>(x));
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[v] = fma<Arch>(factor, w[v], sum[v]);
  }
};

/// Asks for the next lines.
MOEVIT_ALWAYS_INLINE void ask_ahead(Ahead& ahead) {
  const Index lines = std::min(ahead.lines, ahead.left);
  for (Index line = 0; line < lines; ++line)
    for (const std::byte*& next : ahead.first) {
      __builtin_prefetch(next, 0, 2);
      next += ahead.step;
    }
  ahead.left -= lines;
}

/// A tile of `rows` rows times vectors * Step::width columns. All sums stay in registers; the lines of x and the panel
/// are read once, in order; call.ahead moves on.
template <class Step, int rows, int vectors>
MOEVIT_ALWAYS_INLINE void multiply_one_tile(TileCall& call) {
  constexpr Index steps_of_line = line_bytes / 4 / Step::x_units;
  typename Step::Sum sum[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[r][v] = Step::start(call, r, v);
  const std::byte *x = call.x, *weights = call.weights;
  const Index weights_step = call.panel * 4;
  Ahead ahead = call.ahead;
  for (Index left = call.units; left > 0; left -= steps_of_line, x += call.x_line) {
    const std::byte* unit = x;
    ask_ahead(ahead);
#pragma GCC unroll 2
    for (Index step = std::min(steps_of_line, left); step > 0; --step) {
#pragma GCC unroll 2
      for (int part = 0; part < Step::parts; ++part) {
        typename Step::Weights w[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) w[v] = Step::load(weights + v * Step::width * 4, part);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) Step::add(unit + r * line_bytes, part, w, sum[r]);
      }
      unit += 4 * Step::x_units;
      weights += weights_step;
    }
  }
  call.ahead = ahead;
  if constexpr (requires { Step::add_terms(call, sum); }) Step::add_terms(call, sum);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) Step::finish(call, r, v, sum[r][v]);
}

/// From a tile of a call to its next one.
inline void go_to_next_tile(TileCall& call) {
  call.x += call.x_step, call.out += call.out_step;
  call.left += call.rows * call.rank;
  if (call.residual) call.residual += call.rows * call.residual_stride;
  if (call.row_scale) call.row_scale += call.rows;
}

/// The tiles of a call, one after the other.
template <class Step, int rows, int vectors>
void multiply_tile(const TileCall& first) {
  TileCall call = first;  // a local one, which stores to memory cannot change
  for (Index left = call.tiles; left > 0; --left) {
    for (Index row = 0; row < rows; ++row)
      for (Index col = 0; col < vectors * Step::width; col += 16)
        __builtin_prefetch(call.out + row * call.out_stride + col / 16 * call.out_line, 1);
    multiply_one_tile<Step, rows, vectors>(call);
    go_to_next_tile(call);
  }
}

using MultiplyTile = void (*)(const TileCall&);

/// multiply_tile for 1, 2, ... tile_rows rows.
template <class Arch, class Step, int vectors>
inline constexpr auto tile_heights = []<int... r>(std::integer_sequence<int, r...>) {
  return std::array<MultiplyTile, sizeof...(r)>{&multiply_tile<Step, r + 1, vectors>...};
}
(std::make_integer_sequence<int, tile_rows<Arch>>{});

/// multiply_tile for one or two registers of columns and any height.
template <class Arch, class Step>
void multiply_any_tile(const TileCall& call) {
  const auto& heights =
      call.columns == Step::width ? tile_heights<Arch, Step, 1> : tile_heights<Arch, Step, tile_vectors>;
  heights[static_cast<std::size_t>(call.rows - 1)](call);
}

}  // namespace detail

/// Floats times floats.
template <class Arch = DefaultArch>
inline constexpr TileKernel float_kernel{.name = "float32",
                                         .rows = RowFormat::float32,
                                         .most_rows = detail::tile_rows<Arch>,
                                         .columns = detail::tile_vectors* lanes<Arch>,
                                         .lanes = lanes<Arch>,
                                         .multiply = &detail::multiply_any_tile<Arch, detail::FloatStep<Arch>>,
                                         .goes_on = true};

/// What multiplies with w.
template <class Arch = DefaultArch>
const TileKernel& kernel_of(const PackedView& w) {
  if (w.kernel) return *w.kernel;
#if defined(MOEVIT_COMPILED)
  return *chosen_kernels().float_kernel;
#else
  return float_kernel<Arch>;
#endif
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
