#include "simd/reduced.hpp"

#include <moevit/simd/cpu_features.hpp>
#include <moevit/simd/dot_avx512.hpp>
#include <moevit/simd/winograd.hpp>

using namespace moevit;
using simd::lanes;
using simd::winograd_taps;

namespace {

using Values = std::vector<double>;
using Matrix = std::vector<std::vector<double>>;  // rows of columns

/// left * x * left^T
Matrix on_both_sides(const Matrix& left, const Matrix& x) {
  const auto times_transposed = [](const Matrix& a, const Matrix& b) {
    Matrix result(a.size(), Values(b.size()));
    for (std::size_t i = 0; i < a.size(); ++i)
      for (std::size_t j = 0; j < b.size(); ++j)
        for (std::size_t k = 0; k < b[j].size(); ++k) result[i][j] += a[i][k] * b[j][k];
    return result;
  };
  return times_transposed(left, times_transposed(left, x));
}

// G, B^T and A^T of Lavin and Gray 2016, section 4.1.
const Matrix weights_to_taps{{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
const Matrix places_to_taps{{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};
const Matrix taps_to_results{{1, 1, 1, 0}, {0, 1, -1, -1}};

/// A transform of a square whose element (row, column) is at(row * side + column), as one vector.
template <class At>
Values transformed(const Matrix& by, Index side, At at) {
  Matrix x(static_cast<std::size_t>(side), Values(static_cast<std::size_t>(side)));
  for (Index row = 0; row < side; ++row)
    for (Index column = 0; column < side; ++column)
      x[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)] = double{at(row * side + column)};
  Values list;
  for (const Values& row : on_both_sides(by, x)) list.insert(list.end(), row.begin(), row.end());
  return list;
}

float bf16_at(const std::byte* data) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, data, sizeof bits);
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Element (row, column) of packed floats or bfloat16 numbers.
float element_of(const simd::PackedView& view, Index row, Index column) {
  const Index unit = simd::rows_per_unit(view.format);
  const std::byte* at = view.column_data(column) + row / unit * view.panel * 4;
  return unit == 1 ? *reinterpret_cast<const float*>(at) : bf16_at(at + row % unit * 2);
}

/// bfloat16 results are off by a rounding to 8 bits, floats by a few to 24 bits.
double tolerance(bool is_bf16) { return is_bf16 ? 0x1p-8 : 0x1p-21; }

simd::TileKernel bf16_rows_kernel(const simd::TileKernel& floats) {
  simd::TileKernel kernel = floats;
  kernel.weights = simd::WeightFormat::bfloat16;
  return kernel;
}

}  // namespace

TEST_CASE("Winograd transforms weights as the matrices of the paper do, in floats and bfloat16") {
  test::for_each_architecture([](auto arch) {
    using Arch = decltype(arch);
    const simd::TileKernel bf16 = bf16_rows_kernel(simd::float_kernel<Arch>);
    for (const Index inputs : {32, 96})
      for (const Index outputs : {16, 32, 64, 96}) {
        const std::vector<float> w = test::rounded_to_bf16(test::normal_values(9 * inputs * outputs, 3));
        const test::PackedWeights floats(simd::float_kernel<Arch>, w, 9 * inputs, outputs),
            halves(bf16, w, 9 * inputs, outputs);
        const auto check = [&](const simd::PackedView& from, simd::WeightFormat to) {
          CAPTURE(inputs, outputs, from.format == simd::WeightFormat::float32, to == simd::WeightFormat::float32);
          const Index step = simd::packed_size(inputs, outputs, to) * 4;
          AlignedBuffer<std::byte> room(winograd_taps * step + 1);
          room.data()[winograd_taps * step] = std::byte{77};
          const simd::WinogradWeights target{
              {.data = room.data(), .rows = inputs, .cols = outputs, .panel = from.panel, .format = to}, step};
          for (Index panel = 0; panel < from.panels(); ++panel) simd::put_winograd_weights<Arch>(from, panel, target);
          CHECK(room.data()[winograd_taps * step] == std::byte{77});
          double worst = 0.;
          for (Index row = 0; row < inputs; ++row)
            for (Index column = 0; column < outputs; ++column) {
              const Values expected = transformed(weights_to_taps, 3, [&](Index tap) {
                return w[static_cast<std::size_t>((tap * inputs + row) * outputs + column)];
              });
              for (Index tap = 0; tap < winograd_taps; ++tap) {
                const double value = expected[static_cast<std::size_t>(tap)];
                worst = std::max(
                    worst, std::abs(double{element_of(target[tap], row, column)} - value) / (std::abs(value) + 1e-2));
              }
            }
          CHECK(worst < tolerance(to == simd::WeightFormat::bfloat16));
        };
        check(floats.view, simd::WeightFormat::float32);
        check(halves.view, simd::WeightFormat::float32);
        check(halves.view, simd::WeightFormat::bfloat16);
      }
  });
}

TEST_CASE("Winograd transforms the places of cells into tiles") {
  test::for_each_architecture([](auto arch) {
    using Arch = decltype(arch);
    const Index most = simd::float_kernel<Arch>.most_rows;
    std::vector<simd::PutRow> ways{nullptr};  // to convert rows
#if defined(__x86_64__)
    if (simd::cpu_features().avx512_bf16) ways.push_back(simd::bf16_dot_kernel.put_row);
#endif
    for (const auto format : {simd::RowFormat::float32, simd::RowFormat::bfloat16})
      for (const Index width : {32, 96})
        for (const Index rows : {Index{0}, Index{1}, most - 1, most, most + 1})
          for (const simd::PutRow put_row : ways) {
            const bool is_bf16 = format == simd::RowFormat::bfloat16;
            CAPTURE(is_bf16, width, rows);
            const std::vector<float> x = test::normal_values(rows * winograd_taps * width + 1, 5);
            const Index row_bytes = simd::tiled_row_bytes(width), step = rows * row_bytes;
            AlignedBuffer<std::byte> room(winograd_taps * step + 1);
            const simd::RowTiles tiles{.data = room.data(),
                                       .rows = rows,
                                       .width = width,
                                       .row_bytes = row_bytes,
                                       .most_rows = most,
                                       .format = format,
                                       .put_row = put_row};
            simd::WinogradPlaces places;
            const auto place = [&](Index row, Index i) { return x.data() + (row * winograd_taps + i) * width; };
            simd::fill_winograd_tiles<Arch>(tiles, step, [&](Index row) {
              for (Index i = 0; i < winograd_taps; ++i) places[static_cast<std::size_t>(i)] = place(row, i);
              return &places;
            });
            const simd::TileList list = tiles.tiles();
            const Index of_line = is_bf16 ? 32 : 16;
            double worst = 0.;
            for (Index number = 0; number < list.count(); ++number)
              for (Index row = 0; row < list[number].rows; ++row)
                for (Index channel = 0; channel < width; ++channel) {
                  const Values expected = transformed(
                      places_to_taps, 4, [&](Index i) { return place(list[number].first_row + row, i)[channel]; });
                  for (Index tap = 0; tap < winograd_taps; ++tap) {
                    const std::byte* line =
                        list[number].row_data(row) + tap * step + channel / of_line * list[number].line_step;
                    const float found = is_bf16 ? bf16_at(line + channel % of_line * 2)
                                                : reinterpret_cast<const float*>(line)[channel % of_line];
                    const double value = expected[static_cast<std::size_t>(tap)];
                    worst = std::max(worst, std::abs(double{found} - value) / (std::abs(value) + 1.));
                  }
                }
            CHECK(worst < tolerance(is_bf16));
          }
  });
}

TEST_CASE("Winograd writes the results of a cell through an epilogue, and none beside the map") {
  test::for_each_architecture([](auto arch) {
    using Arch = decltype(arch);
    constexpr Index map_width = 3, rows = 6;
    for (const Index outputs : {16, 32, 80})
      for (const Index height : {1, 2})
        for (const Index width : {1, 2}) {
          CAPTURE(outputs, height, width);
          const Index step = outputs + 16, stride = outputs + 3;
          const std::vector<float> sums = test::normal_values(winograd_taps * step, 5),
                                   bias = test::normal_values(outputs, 6),
                                   residual = test::normal_values(rows * outputs, 7);
          AlignedBuffer<float> aligned(winograd_taps * step), room(4 * outputs);
          std::copy(sums.begin(), sums.end(), aligned.data());
          std::vector<float> y(static_cast<std::size_t>(rows * stride), 77.f);
          constexpr Activation relu = Activation::relu;
          simd::put_winograd_results<Arch>(
              aligned.data(), step, outputs, {1, map_width, height, width},
              {.bias = bias.data(), .activation = &relu, .residual = residual.data(), .residual_stride = outputs},
              simd::RowsOut{y.data(), stride}, room.data());
          std::vector<float> expected(y.size(), 77.f);
          for (Index column = 0; column < outputs; ++column) {
            const Values results = transformed(
                taps_to_results, 4, [&](Index tap) { return sums[static_cast<std::size_t>(tap * step + column)]; });
            for (Index i = 0; i < height; ++i)
              for (Index j = 0; j < width; ++j) {
                const Index row = 1 + i * map_width + j;
                const double value =
                    results[static_cast<std::size_t>(2 * i + j)] + double{bias[static_cast<std::size_t>(column)]};
                expected[static_cast<std::size_t>(row * stride + column)] = static_cast<float>(
                    std::max(value, 0.) + double{residual[static_cast<std::size_t>(row * outputs + column)]});
              }
          }
          for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == Approx(expected[i]).margin(1e-5));
        }
  });
}
