/// The k largest of a row, for many rows: what routers choose by.
///
/// How it works: rows of up to `tile_columns` floats are taken `lanes` at a time, one row per lane, and each column is
/// inserted into sorted lists that lie in registers, without a branch. In longer rows the two largest values are found
/// with the lanes side by side and then looked up. Either way only comparisons decide, so all instruction sets agree.
#pragma once

#include <moevit/simd/short_rows.hpp>

#include <bit>
#include <cstdint>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// One bit per lane that is true, the first lane lowest.
template <class Arch>
std::uint64_t lane_bits(const xsimd::batch_bool<float, Arch>& flags) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16) return static_cast<std::uint64_t>(flags.data);
#endif
#if defined(__AVX__)
  if constexpr (lanes<Arch> == 8) return static_cast<std::uint64_t>(_mm256_movemask_ps(flags.data));
#endif
#if defined(__x86_64__)
  if constexpr (lanes<Arch> == 4) return static_cast<std::uint64_t>(_mm_movemask_ps(flags.data));
#elif defined(__aarch64__)
  return vaddvq_u32(vandq_u32(flags.data, uint32x4_t{1, 2, 4, 8}));
#endif
}

namespace detail {

constexpr float below_all = -std::numeric_limits<float>::infinity();

/// The largest values of each lane so far, falling, and their columns (exact as floats up to 2^24).
template <class Arch, int k>
struct Largest {
  using B = Batch<Arch>;
  B values[k];
  B columns[k];

  Largest() {
    for (int rank = 0; rank < k; ++rank) values[rank] = B(below_all), columns[rank] = B(0.f);
  }
  /// Columns come in rising order, so that an equal value goes behind those that are there.
  void insert(const B& value, const B& column) {
    auto above = value > values[k - 1];
#pragma GCC unroll 4
    for (int rank = k - 1; rank > 0; --rank) {
      const auto above_next = value > values[rank - 1];
      values[rank] = xsimd::select(above, xsimd::select(above_next, values[rank - 1], value), values[rank]);
      columns[rank] = xsimd::select(above, xsimd::select(above_next, columns[rank - 1], column), columns[rank]);
      above = above_next;
    }
    values[0] = xsimd::select(above, value, values[0]);
    columns[0] = xsimd::select(above, column, columns[0]);
  }
};

/// Inserts the columns of up to `lanes` rows, of which only those behind (limit, limit_column) in the falling order
/// count unless `all`.
template <class Arch, int k, bool all, class Row>
void insert_columns(Row row, Index rows, Index count, const Batch<Arch>& limit, const Batch<Arch>& limit_column,
                    Largest<Arch, k>& result) {
  using B = Batch<Arch>;
  alignas(cache_line_bytes) float tile[tile_columns * lanes<Arch>];
  Largest<Arch, k> largest;  // a local one stays in registers
  B column(0.f);
  for (Index first = 0; first < count; first += tile_columns) {
    const Index cols = std::min(tile_columns, count - first);
    load_columns<Arch>(row, rows, first, cols, tile);
    for (Index col = 0; col < cols; ++col) {
      B value = B::load_aligned(tile + col * lanes<Arch>);
      if constexpr (!all) {
        const auto behind = (value < limit) || ((value == limit) && (column > limit_column));
        value = xsimd::select(behind, value, B(below_all));
      }
      largest.insert(value, column);
      column += B(1.f);
    }
  }
  result = largest;
}

/// Ranks first_rank .. first_rank + k - 1 of up to `lanes` rows; `limit` is the rank before and becomes the last one.
template <class Arch, int k, class Row, class Visit>
void visit_ranks(Row row, Index rows, Index count, Index first_rank, Largest<Arch, 1>& limit, Visit& visit) {
  Largest<Arch, k> largest;
  if (first_rank == 0)
    insert_columns<Arch, k, true>(row, rows, count, limit.values[0], limit.columns[0], largest);
  else
    insert_columns<Arch, k, false>(row, rows, count, limit.values[0], limit.columns[0], largest);
  alignas(cache_line_bytes) float values[k][lanes<Arch>], columns[k][lanes<Arch>];
  for (int rank = 0; rank < k; ++rank) {
    largest.values[rank].store_aligned(values[rank]);
    largest.columns[rank].store_aligned(columns[rank]);
  }
  for (Index r = 0; r < rows; ++r)
    for (int rank = 0; rank < k; ++rank)
      visit(r, first_rank + rank, static_cast<std::int32_t>(columns[rank][r]), values[rank][r]);
  limit.values[0] = largest.values[k - 1];
  limit.columns[0] = largest.columns[k - 1];
}

/// The k largest of up to `lanes` rows, at most four ranks at a time.
template <class Arch, class Row, class Visit>
void visit_side_by_side(Row row, Index rows, Index count, Index k, Visit& visit) {
  Largest<Arch, 1> limit;
  for (Index rank = 0; rank < k;) {
    const Index ranks = std::min<Index>(k - rank, 4);
    if (ranks == 1) visit_ranks<Arch, 1>(row, rows, count, rank, limit, visit);
    if (ranks == 2) visit_ranks<Arch, 2>(row, rows, count, rank, limit, visit);
    if (ranks == 3) visit_ranks<Arch, 3>(row, rows, count, rank, limit, visit);
    if (ranks == 4) visit_ranks<Arch, 4>(row, rows, count, rank, limit, visit);
    rank += ranks;
  }
}

/// The largest and the second largest value, which are equal where two columns tie.
struct TopTwo {
  float first = below_all, second = below_all;
};

/// The two largest of each lane.
template <class B>
struct TopTwoOfLanes {
  B first = B(below_all), second = B(below_all);

  void add(const B& other_first, const B& other_second) {
    second = xsimd::max(xsimd::max(second, other_second), xsimd::min(first, other_first));
    first = xsimd::max(first, other_first);
  }
  void add(const B& value) {
    second = xsimd::max(second, xsimd::min(first, value));
    first = xsimd::max(first, value);
  }
};

/// The two largest over all lanes: quads of lanes first, then within one.
template <class Arch>
TopTwo reduce_lanes(const TopTwoOfLanes<Batch<Arch>>& lanes_of) {
  alignas(cache_line_bytes) float firsts[lanes<Arch>], seconds[lanes<Arch>];
  lanes_of.first.store_aligned(firsts);
  lanes_of.second.store_aligned(seconds);
  TopTwoOfLanes<Quad> quad{Quad::load_aligned(firsts), Quad::load_aligned(seconds)};
  for (Index i = 4; i < lanes<Arch>; i += 4) quad.add(Quad::load_aligned(firsts + i), Quad::load_aligned(seconds + i));
  for (int half = 0; half < 2; ++half) {
    TopTwoOfLanes<Quad> low{xsimd::zip_lo(quad.first, quad.first), xsimd::zip_lo(quad.second, quad.second)};
    low.add(xsimd::zip_hi(quad.first, quad.first), xsimd::zip_hi(quad.second, quad.second));
    quad = low;
  }
  quad.first.store_aligned(firsts);
  quad.second.store_aligned(seconds);
  return {firsts[0], seconds[0]};
}

/// Longest rows whose two largest are looked up in one go.
inline constexpr Index longest_row = 64 * 64;

/// The two largest of a row of at least `lanes` floats.
template <class Arch>
TopTwo top_two(const float* x, Index count) {
  using B = Batch<Arch>;
  TopTwoOfLanes<B> top;
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  for (Index i = 0; i < whole; i += lanes<Arch>) top.add(B::load_unaligned(x + i));
  if (whole < count) {  // the last floats again, without those that have been counted
    const B seen(static_cast<float>(lanes<Arch> - (count - whole)));
    top.add(xsimd::select(lane_numbers<Arch>() < seen, B(below_all), B::load_unaligned(x + count - lanes<Arch>)));
  }
  return reduce_lanes<Arch>(top);
}

/// One bit for each of up to 64 floats that is `least` or more, the first lowest. Where they are fewer, floats
/// before x are read, too.
template <class Arch>
std::uint64_t reaching(const float* x, Index count, const Batch<Arch>& least) {
  using B = Batch<Arch>;
  std::uint64_t bits = 0;
  if (count >= 64) {
#pragma GCC unroll 16
    for (Index i = 0; i < 64; i += lanes<Arch>) bits |= lane_bits<Arch>(B::load_unaligned(x + i) >= least) << i;
    return bits;
  }
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  for (Index i = 0; i < whole; i += lanes<Arch>) bits |= lane_bits<Arch>(B::load_unaligned(x + i) >= least) << i;
  if (const Index rest = count - whole)
    bits |= lane_bits<Arch>(B::load_unaligned(x + count - lanes<Arch>) >= least) >> (lanes<Arch> - rest) << whole;
  return bits;
}

/// The lowest columns that hold the two values, where more than two reach the second. (Any column where there are
/// NaNs.)
inline std::array<Index, 2> find_among_ties(const float* x, Index count, const TopTwo& top) {
  std::array<Index, 2> columns{-1, -1};
  for (Index col = 0; col < count && (columns[0] < 0 || columns[1] < 0); ++col)
    if (columns[0] < 0 && x[col] == top.first)
      columns[0] = col;
    else if (columns[1] < 0 && x[col] == top.second)
      columns[1] = col;
  return {std::max<Index>(columns[0], 0), std::max<Index>(columns[1], 0)};
}

/// The columns of the two values. Two columns reach the second value unless there are ties; which of them is larger and
/// where they are cannot be predicted, so neither is branched on.
template <class Arch>
std::array<Index, 2> find_two(const float* x, Index count, const TopTwo& top) {
  const Batch<Arch> least(top.second);
  std::array<std::uint64_t, 64> hits;  // one word for 64 columns
  std::uint64_t used = 0;              // words with hits
  int found = 0;
  for (Index begin = 0, word = 0; begin < count; begin += 64, ++word) {
    const std::uint64_t bits = reaching<Arch>(x + begin, count - begin, least);
    hits[static_cast<std::size_t>(word)] = bits;
    used |= std::uint64_t{bits != 0} << word;
    found += std::popcount(bits);
  }
  if (found != 2) return find_among_ties(x, count, top);
  const int first_word = std::countr_zero(used), last_word = 63 - std::countl_zero(used);
  const Index lowest = first_word * 64 + std::countr_zero(hits[static_cast<std::size_t>(first_word)]),
              highest = last_word * 64 + 63 - std::countl_zero(hits[static_cast<std::size_t>(last_word)]);
  const bool rising = x[lowest] < x[highest];
  return {rising ? highest : lowest, rising ? lowest : highest};
}

/// The one or two largest of one long row: their values first, then the lowest columns that hold them.
template <class Arch, class Visit>
void visit_long_row(const float* x, Index row, Index count, Index k, Visit& visit) {
  const TopTwo top = top_two<Arch>(x, count);
  const std::array<Index, 2> columns = find_two<Arch>(x, count, top);
  visit(row, Index{0}, static_cast<std::int32_t>(columns[0]), top.first);
  if (k == 2) visit(row, Index{1}, static_cast<std::int32_t>(columns[1]), top.second);
}

}  // namespace detail

/// visit(row, rank, column, value) for the k largest of `count` floats of each row, equal values by rising column: the
/// ranks of a row come in order, but those of other rows may come between them. row(r) gives a pointer to row r of
/// `rows`. Finite values only; 1 <= k <= count <= 2^24. Nothing beyond a row is read.
template <class Arch = DefaultArch, class Row, class Visit>
void visit_top_k(Row row, Index rows, Index count, Index k, Visit visit) {
  if (k <= 2 && count > tile_columns && count <= detail::longest_row) {
    for (Index r = 0; r < rows; ++r) detail::visit_long_row<Arch>(row(r), r, count, k, visit);
    return;
  }
  for (Index first = 0; first < rows; first += lanes<Arch>) {
    auto visit_row = [&](Index r, Index rank, std::int32_t column, float value) {
      visit(first + r, rank, column, value);
    };
    detail::visit_side_by_side<Arch>([&](Index r) { return row(first + r); }, std::min(lanes<Arch>, rows - first),
                                     count, k, visit_row);
  }
}

/// A limit that exactly k of `count` floats reach, or, where ties forbid it, the k-th largest of them. Found bit by
/// bit. Finite values only, 1 <= k <= count.
template <class Arch = DefaultArch>
float limit_of_largest(const float* x, Index count, Index k) {
  using B = Batch<Arch>;
  const auto count_reaching = [&](float limit) {
    const Index whole = count / lanes<Arch> * lanes<Arch>;
    Index reaching = 0;
    for (Index i = 0; i < whole; i += lanes<Arch>)
      reaching += std::popcount(lane_bits<Arch>(B::load_unaligned(x + i) >= B(limit)));
    for (Index i = whole; i < count; ++i) reaching += x[i] >= limit;
    return reaching;
  };
  // Patterns in the order of the numbers they stand for: negative ones inverted, the others above them.
  const auto number = [](std::uint32_t rising) {
    return std::bit_cast<float>(rising & 0x80000000u ? rising ^ 0x80000000u : ~rising);
  };
  std::uint32_t found = 0;
  for (std::uint32_t bit = 0x80000000u; bit; bit >>= 1) {
    const Index reaching = count_reaching(number(found | bit));  // nothing reaches a NaN
    if (reaching >= k) found |= bit;
    if (reaching == k) break;
  }
  return number(found);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
