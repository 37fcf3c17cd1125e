#include "random_values.hpp"
#include "reference.hpp"
#include "row_product.hpp"
#include "same_bits.hpp"
#include "simd/architectures.hpp"

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/simd/gemm.hpp>

#include <optional>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float canary = 1234.5f;

struct Steps {
  bool bias = false;
  std::optional<Activation> activation;
  bool scale = false;
  bool residual = false;
};

/// One product with rows further apart than their columns need. What lies between rows is NaN in inputs and a canary in
/// outputs; the last rows end where their memory ends, so that a sanitizer sees a float too many.
template <class Arch>
struct Product {
  Index rows, inputs, outputs;
  Steps steps;
  Index x_stride = inputs + 3, y_stride = outputs + 5;
  std::vector<float> x = spaced(rows, inputs, x_stride, 1);
  std::vector<float> weights = test::normal_values(inputs * outputs, 2);
  std::vector<float> residual = spaced(rows, outputs, y_stride, 3);
  AlignedBuffer<float> bias = padded(4), scale = padded(5);
  AlignedBuffer<float> panels{simd::packed_size(inputs, outputs)};
  simd::PackedView packed = simd::pack<Arch>(weights.data(), outputs, inputs, outputs, panels.data());

  static std::vector<float> spaced(Index rows, Index cols, Index stride, unsigned seed) {
    const std::vector<float> values = test::normal_values(rows * cols, seed);
    const Index size = rows == 0 ? 0 : (rows - 1) * stride + cols;
    std::vector<float> result(static_cast<std::size_t>(size), std::numeric_limits<float>::quiet_NaN());
    for (Index row = 0; row < rows; ++row) std::copy_n(values.data() + row * cols, cols, result.data() + row * stride);
    return result;
  }
  AlignedBuffer<float> padded(unsigned seed) const {
    AlignedBuffer<float> result(round_up(outputs, simd::panel_width(outputs)));
    std::ranges::copy(test::normal_values(outputs, seed), result.data());
    return result;
  }

  /// Rows [first, first + count) of the product, written to y.
  void run(Index first, Index count, std::vector<float>& y) const {
    simd::Epilogue epilogue;
    if (steps.bias) epilogue.bias = bias.data();
    if (steps.activation) epilogue.activation = &*steps.activation;
    if (steps.scale) epilogue.scale = scale.data();
    if (steps.residual) epilogue.residual = residual.data() + first * y_stride, epilogue.residual_stride = y_stride;
    test::multiply_rows<Arch>(count, x.data() + first * x_stride, x_stride, packed, epilogue,
                              y.data() + first * y_stride, y_stride);
  }
  std::vector<float> empty_result() const { return std::vector<float>(residual.size(), canary); }
};

/// The result of one element and a bound on its rounding error: K products and sums of known size, then the epilogue,
/// whose activations have a slope below 1.2 and an error below 3e-7.
struct Bounded {
  double value = 0.;
  double error = 0.;

  template <class Arch>
  Bounded(const Product<Arch>& product, Index row, Index col) {
    double size = 0.;
    for (Index k = 0; k < product.inputs; ++k) {
      const double term = static_cast<double>(product.x[static_cast<std::size_t>(row * product.x_stride + k)]) *
                          static_cast<double>(product.weights[static_cast<std::size_t>(k * product.outputs + col)]);
      value += term;
      size += std::abs(term);
    }
    error = static_cast<double>(product.inputs + 1) * reference::unit_roundoff * size;
    if (product.steps.bias) add(static_cast<double>(product.bias[col]));
    if (product.steps.activation) {
      error = 1.2 * error + 3e-7 * std::max(1., std::abs(value));
      value = reference::activate(*product.steps.activation, value);
    }
    if (product.steps.scale) {
      value *= static_cast<double>(product.scale[col]);
      error = error * std::abs(static_cast<double>(product.scale[col])) + reference::unit_roundoff * std::abs(value);
    }
    if (product.steps.residual)
      add(static_cast<double>(product.residual[static_cast<std::size_t>(row * product.y_stride + col)]));
  }
  void add(double term) {
    value += term;
    error += reference::unit_roundoff * (std::abs(value) + error);
  }
};

template <class Arch>
void check_against_loops(const Product<Arch>& product) {
  std::vector<float> y = product.empty_result();
  product.run(0, product.rows, y);
  Index wrong = 0, overwritten = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const Index row = static_cast<Index>(i) / product.y_stride, col = static_cast<Index>(i) % product.y_stride;
    if (col >= product.outputs) {
      overwritten += y[i] != canary;
      continue;
    }
    const Bounded expected(product, row, col);
    wrong += !(std::abs(static_cast<double>(y[i]) - expected.value) <= expected.error);
  }
  CHECK(wrong == 0);
  CHECK(overwritten == 0);
}

/// However the rows are cut, the bits are the same.
template <class Arch>
void check_cuts(const Product<Arch>& product) {
  std::vector<float> whole = product.empty_result();
  product.run(0, product.rows, whole);
  for (const Index most : {1, 2, 5, 13}) {
    CAPTURE(most);
    std::vector<float> cut = product.empty_result();
    for (Index first = 0; first < product.rows; first += most)
      product.run(first, std::min(most, product.rows - first), cut);
    CHECK(test::same_bits(cut, whole));
  }
}

/// A tall tile as the left operand, the right one and the result: the bits of rows and panels.
template <class Arch>
void check_tall_tiles(const Product<Arch>& product) {
  const Index rows = product.rows, inputs = product.inputs, outputs = product.outputs;
  std::vector<float> expected = product.empty_result(), found = expected;
  product.run(0, rows, expected);
  AlignedBuffer<float> x_room(simd::tall_size(rows, inputs)), w_room(simd::tall_size(inputs, outputs)),
      y_room(simd::tall_size(rows, outputs));
  const simd::RowTiles x = simd::tall_tile<Arch>(rows, inputs, x_room.data());
  const simd::RowTiles w = simd::tall_tile<Arch>(inputs, outputs, w_room.data());
  const simd::RowTiles y = simd::tall_tile<Arch>(rows, outputs, y_room.data());
  simd::fill_tiles<Arch>(x, [&](Index row) { return product.x.data() + row * product.x_stride; });
  simd::fill_tiles<Arch>(w, [&](Index row) { return product.weights.data() + row * outputs; });
  simd::gemm<Arch>(x, simd::panels_of(w), {}, simd::RowsOut{found.data(), product.y_stride});
  CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
  simd::gemm<Arch>(x, product.packed, {}, simd::TilesOut{y});
  for (Index row = 0; row < rows; ++row)
    for (Index col = 0; col < outputs; ++col)
      REQUIRE(simd::line_of(y, col / 16)[row * 16 + col % 16] ==
              expected[static_cast<std::size_t>(row * product.y_stride + col)]);
}

}  // namespace

TEST_CASE("tall tiles are operands and results of products") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index rows : {1, 6, 29})
      for (const Index inputs : {1, 16, 35})
        for (const Index outputs : test::counts_around(lanes<Arch>)) {
          CAPTURE(rows, inputs, outputs);
          check_tall_tiles(Product<Arch>{rows, inputs, outputs, {}});
        }
  });
}

TEST_CASE("gemm agrees with plain loops for all sizes around tiles, panels and registers") {
  test::for_each_architecture([]<class Arch>(Arch) {
    constexpr Index tile = simd::detail::tile_rows<Arch>;
    for (const Index rows : {Index{0}, Index{1}, tile - 1, tile, tile + 1, 2 * tile + 3})
      for (const Index inputs : {0, 1, 19})
        for (const Index outputs : test::counts_around(lanes<Arch>)) {
          CAPTURE(rows, inputs, outputs);
          check_against_loops(Product<Arch>{rows, inputs, outputs, Steps{}});
          check_against_loops(Product<Arch>{rows, inputs, outputs, Steps{true, Activation::gelu_tanh, true, true}});
        }
    check_against_loops(Product<Arch>{33, 201, 67, Steps{true, {}, false, false}});
    // Several chunks of K, blocks of columns and sets of rows, each with a rest.
    check_against_loops(Product<Arch>{133, simd::detail::chunked_from + 37, 71, Steps{}});
    check_against_loops(
        Product<Arch>{29, simd::detail::chunked_from, 150, Steps{true, Activation::gelu_tanh, true, true}});
    check_against_loops(Product<Arch>{2, 3, 0, Steps{}});
  });
}

TEST_CASE("gemm applies every combination of the epilogue's steps") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (int combination = 0; combination < 8; ++combination)
      for (const std::optional<Activation> activation :
           {std::optional<Activation>{}, std::optional(Activation::gelu_tanh), std::optional(Activation::gelu_erf),
            std::optional(Activation::gelu_quick), std::optional(Activation::relu)}) {
        const Steps steps{(combination & 1) != 0, activation, (combination & 2) != 0, (combination & 4) != 0};
        CAPTURE(combination, activation ? static_cast<int>(*activation) : -1);
        check_against_loops(Product<Arch>{5, 12, 2 * lanes<Arch> + 3, steps});
      }
  });
}

TEST_CASE("gemm gives a row the same bits, alone or among others") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index outputs : {lanes<Arch> - 1, 2 * lanes<Arch>, 3 * lanes<Arch> + 1})
      for (const Index rows : {7, 29, 43}) {
        CAPTURE(outputs, rows);
        check_cuts(Product<Arch>{rows, 100, outputs, Steps{}});
        for (const Activation activation : {Activation::gelu_tanh, Activation::gelu_erf})
          check_cuts(Product<Arch>{rows, 100, outputs, Steps{true, activation, true, true}});
      }
    check_cuts(Product<Arch>{131, simd::detail::chunked_from + 37, 71, Steps{true, {}, false, true}});
  });
}

TEST_CASE("the residual of gemm may be its output") {
  test::for_each_architecture([]<class Arch>(Arch) {
    const Product<Arch> product{17, 9, 2 * lanes<Arch> + 1, Steps{true, {}, true, true}};
    std::vector<float> apart = product.empty_result(), in_place = product.residual;
    product.run(0, product.rows, apart);
    const simd::Epilogue epilogue{.bias = product.bias.data(),
                                  .scale = product.scale.data(),
                                  .residual = in_place.data(),
                                  .residual_stride = product.y_stride};
    test::multiply_rows<Arch>(product.rows, product.x.data(), product.x_stride, product.packed, epilogue,
                              in_place.data(), product.y_stride);
    Index different = 0;
    for (std::size_t i = 0; i < apart.size(); ++i)
      different += static_cast<Index>(i) % product.y_stride < product.outputs && apart[i] != in_place[i];
    CHECK(different == 0);
  });
}
