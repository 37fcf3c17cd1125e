#include "simd/reduced.hpp"

#include <moevit/simd/few_columns.hpp>

using namespace moevit;
using simd::lanes;

namespace {

/// Rows in tiles, with NaN behind their width, and columns of W as multiply_columns() takes them.
template <class Arch>
struct Operands {
  Index rows, width, count;
  std::vector<float> x = test::normal_values(rows * width, 1), w = test::normal_values(width * count, 2);
  Index padded = round_up(width, simd::line_bytes / 4);
  AlignedBuffer<std::byte> room{rows * simd::tiled_row_bytes(width) + 1};
  std::vector<float> columns = std::vector<float>(static_cast<std::size_t>(count * width));
  simd::RowTiles tiles;

  Operands(Index row_count, Index inputs, Index outputs) : rows(row_count), width(inputs), count(outputs) {
    std::fill_n(room.data(), room.size(), std::byte{0xff});
    simd::PackedView floats;
    floats.rows = width, floats.kernel = &simd::float_kernel<Arch>;
    tiles = simd::tile_rows<Arch>(rows, x.data(), width, floats, room.data());
    const simd::TileList list = tiles.tiles();
    for (Index number = 0; number < list.count(); ++number)
      for (Index row = 0; row < list[number].rows; ++row)
        for (Index k = width; k < padded; ++k)
          reinterpret_cast<float*>(list[number].row_data(row) + k / 16 * list[number].line_step)[k % 16] =
              std::numeric_limits<float>::quiet_NaN();
    for (Index c = 0; c < count; ++c)
      for (Index k = 0; k < width; ++k)
        columns[static_cast<std::size_t>(c * width + k)] = w[static_cast<std::size_t>(k * count + c)];
  }

  std::vector<float> product() const {
    std::vector<float> y(static_cast<std::size_t>(rows * count + 1), 77.f);
    simd::multiply_columns<Arch>(tiles, columns.data(), count, y.data());
    CHECK(y.back() == 77.f);
    y.pop_back();
    return y;
  }

  /// The same with rows that are not tiled, and rows of x and y further apart than their columns need.
  std::vector<float> product_of_rows() const {
    const Index x_stride = width + 3, y_stride = count + 1;
    std::vector<float> apart(static_cast<std::size_t>(rows * x_stride), std::numeric_limits<float>::quiet_NaN());
    for (Index row = 0; row < rows; ++row) std::copy_n(x.data() + row * width, width, apart.data() + row * x_stride);
    std::vector<float> y(static_cast<std::size_t>(rows * y_stride), 77.f), result;
    simd::multiply_columns_of_rows<Arch>({apart.data(), rows, width, x_stride}, columns.data(), count, y.data(),
                                         y_stride);
    for (auto row = y.begin(); row != y.end(); row += y_stride) {
      result.insert(result.end(), row, row + count);
      CHECK(row[count] == 77.f);
    }
    return result;
  }
};

}  // namespace

TEST_CASE("A product with few columns agrees with plain loops") {
  test::for_each_architecture([](auto arch) {
    using Arch = decltype(arch);
    const Index most = simd::float_kernel<Arch>.most_rows;
    for (const Index rows : {Index{0}, Index{1}, most - 1, most, most + 1, 2 * most + 3})
      for (const Index width : test::counts_around(lanes<Arch>))
        for (const Index count : {0, 1, 3, 4, 5, 8, 17}) {
          CAPTURE(rows, width, count);
          const Operands<Arch> operands(rows, width, count);
          const std::vector<float> y = operands.product();
          CHECK(operands.product_of_rows() == y);
          double worst = 0.;
          for (Index row = 0; row < rows; ++row)
            for (Index c = 0; c < count; ++c) {
              double sum = 0., size = 0.;
              for (Index k = 0; k < width; ++k) {
                const double term = double{operands.x[static_cast<std::size_t>(row * width + k)]} *
                                    double{operands.w[static_cast<std::size_t>(k * count + c)]};
                sum += term, size += std::abs(term);
              }
              worst = std::max(worst, std::abs(double{y[static_cast<std::size_t>(row * count + c)]} - sum) / size);
            }
          CHECK(worst < static_cast<double>(width + 8) * reference::unit_roundoff);
        }
  });
}

TEST_CASE("A product with few columns gives a row the same bits in any block") {
  test::for_each_architecture([](auto arch) {
    using Arch = decltype(arch);
    const Index most = simd::float_kernel<Arch>.most_rows;
    const Operands<Arch> all(2 * most + 3, 37, 5);
    const std::vector<float> y = all.product();
    for (const Index rows : {Index{1}, most, most + 1}) {
      const std::vector<float> part = Operands<Arch>(rows, 37, 5).product();  // normal_values() begins alike
      CHECK(std::equal(part.begin(), part.end(), y.begin()));
    }
  });
}
