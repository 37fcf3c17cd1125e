#include "random_values.hpp"
#include "simd/architectures.hpp"

#include <moevit/simd/top_k.hpp>

#include <numeric>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Rows of a matrix whose values behind `count` columns are larger than all others and must not be seen.
struct Rows {
  Index rows, count, stride;
  std::vector<float> values;

  /// With `levels` > 0 values are one of so many, so that ties abound.
  Rows(Index row_count, Index col_count, unsigned seed, int levels)
      : rows(row_count),
        count(col_count),
        stride(col_count + 3),
        values(test::normal_values(row_count * (col_count + 3), seed)) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (levels) values[i] = std::round(values[i] * static_cast<float>(levels) / 4.f);
      if (static_cast<Index>(i) % stride >= count) values[i] = infinity;
    }
  }
  const float* row(Index index) const { return values.data() + index * stride; }

  /// Columns of a row, falling values, ties by rising column.
  std::vector<Index> sorted(Index index) const {
    std::vector<Index> columns(static_cast<std::size_t>(count));
    std::iota(columns.begin(), columns.end(), Index{0});
    std::stable_sort(columns.begin(), columns.end(), [&](Index a, Index b) { return row(index)[a] > row(index)[b]; });
    return columns;
  }
};

/// Whether visit_top_k names the same columns and values as sorting, each rank of each row once and in order.
template <class Arch>
bool agrees(const Rows& matrix, Index k) {
  std::vector<std::vector<Index>> found(static_cast<std::size_t>(matrix.rows));
  bool good = true;
  simd::visit_top_k<Arch>([&](Index row) { return matrix.row(row); }, matrix.rows, matrix.count, k,
                          [&](Index row, Index rank, std::int32_t column, float value) {
                            auto& list = found.at(static_cast<std::size_t>(row));
                            good &= rank == std::ssize(list) && column < matrix.count;
                            good = good && value == matrix.row(row)[column];
                            list.push_back(column);
                          });
  for (Index row = 0; row < matrix.rows; ++row) {
    std::vector<Index> expected = matrix.sorted(row);
    expected.resize(static_cast<std::size_t>(k));
    good &= found[static_cast<std::size_t>(row)] == expected;
  }
  return good;
}

}  // namespace

TEST_CASE("the k largest are those of a stable sort, for short and long rows, with and without ties") {
  test::for_each_architecture([]<class Arch>(Arch) {
    std::vector<Index> counts = test::counts_around(lanes<Arch>);
    for (const Index count : {2, 3, 63, 64, 65, 72, 127, 128, 129, 200, 256}) counts.push_back(count);
    for (const Index count : counts)
      for (const Index k : {1, 2, 3, 4, 5, 9})
        for (const Index rows : {Index{1}, lanes<Arch> - 1, lanes<Arch>, lanes<Arch> + 1})
          for (const int levels : {0, 1, 5}) {
            if (k > count) continue;
            CAPTURE(count, k, rows, levels);
            CHECK(agrees<Arch>(Rows(rows, count, static_cast<unsigned>(count + k), levels), k));
          }
  });
}

TEST_CASE("the k largest: every rank of a row, rows beyond what is looked up in one go, the ends of the number range") {
  test::for_each_architecture([]<class Arch>(Arch) {
    CHECK(agrees<Arch>(Rows(3, 37, 1, 5), 37));
    CHECK(agrees<Arch>(Rows(2, 4096, 2, 0), 2));
    CHECK(agrees<Arch>(Rows(2, 4097, 3, 0), 2));
    for (const Index count : {9, 90}) {
      Rows extreme(2, count, 4, 0);
      std::fill_n(extreme.values.begin(), count, std::numeric_limits<float>::lowest());
      extreme.values[static_cast<std::size_t>(count - 1)] = std::numeric_limits<float>::max();
      extreme.values[static_cast<std::size_t>(count - 2)] = -0.f;
      extreme.values[static_cast<std::size_t>(count - 3)] = 0.f;
      for (const Index k : {1, 2, 5}) CHECK(agrees<Arch>(extreme, k));
    }
    simd::visit_top_k<Arch>([](Index) -> const float* { return nullptr; }, 0, 4, 2,
                            [](Index, Index, std::int32_t, float) { FAIL("there are no rows"); });
  });
}

TEST_CASE("NaN values are out of order, but no column beyond the row is named") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : {5, 70})
      for (const Index k : {1, 2, 3}) {
        const std::vector<float> row(static_cast<std::size_t>(count), std::numeric_limits<float>::quiet_NaN());
        simd::visit_top_k<Arch>([&](Index) { return row.data(); }, 1, count, k,
                                [&](Index, Index, std::int32_t column, float) {
                                  CHECK(column >= 0);
                                  CHECK(column < count);
                                });
      }
  });
}

TEST_CASE("lane_bits has the first lane lowest") {
  test::for_each_architecture([]<class Arch>(Arch) {
    const auto numbers = simd::lane_numbers<Arch>();
    for (Index lane = 0; lane < lanes<Arch>; ++lane) {
      const simd::Batch<Arch> value(static_cast<float>(lane));
      CHECK(simd::lane_bits<Arch>(numbers == value) == std::uint64_t{1} << lane);
      CHECK(simd::lane_bits<Arch>(numbers < value) == (std::uint64_t{1} << lane) - 1);
    }
  });
}

TEST_CASE("limit_of_largest is reached by k values, or is the k-th largest where values tie") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : test::counts_around(lanes<Arch>))
      for (const int levels : {0, 5})
        for (Index k = 1; k <= count; k += 1 + count / 7) {
          const Rows matrix(1, count, static_cast<unsigned>(count), levels);
          const float* x = matrix.row(0);
          const float limit = simd::limit_of_largest<Arch>(x, count, k),
                      kth = x[matrix.sorted(0)[static_cast<std::size_t>(k - 1)]];
          CAPTURE(count, levels, k, limit, kth);
          const auto reaching = std::count_if(x, x + count, [&](float value) { return value >= limit; });
          CHECK((reaching == k || (reaching > k && limit == kth)));
        }
  });
}
