// Kernels of backward passes against plain loops in double precision.
#include "random_values.hpp"
#include "reference.hpp"
#include "simd/architectures.hpp"

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/simd/activation_gradient.hpp>
#include <moevit/simd/row_gradients.hpp>
#include <moevit/simd/softmax.hpp>
#include <moevit/simd/softmax_columns.hpp>
#include <moevit/simd/transposed_product.hpp>

using namespace moevit;
using simd::lanes;

namespace {

/// y(k, n) += sum over rows of x(row, first + k) d(row, n), one element further apart than needed.
template <class Arch>
void check_transposed_product(Index rows, Index inputs, Index outputs) {
  CAPTURE(rows, inputs, outputs);
  constexpr Index first = 2;
  const Index stride = inputs + first + 1, y_stride = outputs + 3;
  const std::vector<float> x = test::normal_values(rows * stride, 1), d = test::normal_values(rows * outputs, 2);
  std::vector<float> y = test::normal_values(inputs * y_stride, 3);
  const std::vector<float> before = y;
  AlignedBuffer<float> panels(simd::packed_size(std::max<Index>(rows, 1), outputs));
  const simd::PackedView packed = simd::pack<Arch>(d.data(), outputs, rows, outputs, panels.data());
  simd::add_transposed_product<Arch>(x.data(), stride, first, inputs, packed, {y.data(), y_stride, packed.panel});
  for (Index k = 0; k < inputs; ++k)
    for (Index n = 0; n < y_stride; ++n) {
      double expected = before[static_cast<std::size_t>(k * y_stride + n)];
      for (Index row = 0; row < rows && n < outputs; ++row)
        expected += double{x[static_cast<std::size_t>(row * stride + first + k)]} *
                    double{d[static_cast<std::size_t>(row * outputs + n)]};
      REQUIRE(y[static_cast<std::size_t>(k * y_stride + n)] == Approx(expected).margin(1e-5).epsilon(1e-5));
    }
}

/// y(k, n) = scale(k) * sum over rows of x(row, k) d(row, n), whatever was there: the bits of a sum that began with
/// zeros.
template <class Arch>
void check_assigned_product(Index rows, Index inputs, Index outputs) {
  CAPTURE(rows, inputs, outputs);
  const std::vector<float> x = test::normal_values(rows * inputs, 1), d = test::normal_values(rows * outputs, 2),
                           scale = test::normal_values(inputs, 3);
  std::vector<float> sums(static_cast<std::size_t>(inputs * outputs), 0.f), y(sums.size(), 5.f), scaled = y;
  AlignedBuffer<float> panels(simd::packed_size(std::max<Index>(rows, 1), outputs));
  const simd::PackedView packed = simd::pack<Arch>(d.data(), outputs, rows, outputs, panels.data());
  const auto multiply = [&](std::vector<float>& to, bool assigns, const float* row_scale) {
    simd::add_transposed_product<Arch>(x.data(), inputs, 0, inputs, packed,
                                       {to.data(), outputs, packed.panel, assigns, row_scale});
  };
  multiply(sums, false, nullptr);
  multiply(y, true, nullptr);
  multiply(scaled, true, scale.data());
  CHECK(y == sums);
  for (std::size_t i = 0; i < sums.size(); ++i)
    REQUIRE(scaled[i] == sums[i] * scale[i / static_cast<std::size_t>(outputs)]);
}

/// The slope of a function by a difference in double precision.
template <class F>
double slope_of(F f, double x) {
  constexpr double step = 1e-5;
  return (f(x + step) - f(x - step)) / (2. * step);
}

template <class Arch>
void check_activation(Activation activation, Index count) {
  std::vector<float> x = test::normal_values(count, 4, 0.f, 3.f), found = x;
  const std::vector<float> dy = test::normal_values(count, 5);
  simd::activation_gradient_row<Arch>(activation, x.data(), dy.data(), count, found.data());
  std::vector<float> y = x;
  simd::activate_row<Arch>(activation, y.data(), count, y.data());
  std::vector<float> active = x, d = dy;
  simd::activate_with_gradient_row<Arch>(activation, active.data(), d.data(), count);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto f = [&](double value) { return reference::activate(activation, value); };
    CHECK(found[i] == Approx(double{dy[i]} * slope_of(f, x[i])).margin(3e-6));
    CHECK(d[i] == Approx(double{dy[i]} * slope_of(f, x[i])).margin(3e-6));
    CHECK(y[i] == Approx(f(x[i])).margin(3e-6));
    CHECK(active[i] == Approx(f(x[i])).margin(3e-6));
  }
}

/// Far from 0 every activation is 0 or x.
template <class Arch>
void check_slopes_far_away(Activation activation) {
  for (const float x : {20.f, 51.f, 1e4f, 1e13f, 1e19f, 3e38f}) {
    CAPTURE(static_cast<int>(activation), x);
    std::vector<float> points{-x, x}, slopes{1.f, 1.f};
    simd::activate_with_gradient_row<Arch>(activation, points.data(), slopes.data(), 2);
    CHECK(slopes[0] == Approx(0.).margin(1e-6));
    CHECK(slopes[1] == Approx(1.).margin(1e-6));
    CHECK(points[0] == Approx(0.).margin(1e-6 * double{x}));
    CHECK(points[1] == Approx(double{x}));
  }
}

/// sum over i of dy_i d y_i / d x, by differences of a row function in double precision.
template <class F>
std::vector<double> row_gradient(F f, const std::vector<double>& x, const std::vector<float>& dy) {
  std::vector<double> gradient(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) {
    constexpr double step = 1e-5;
    std::vector<double> above = x, below = x;
    above[k] += step, below[k] -= step;
    const std::vector<double> high = f(above), low = f(below);
    for (std::size_t i = 0; i < dy.size(); ++i) gradient[k] += double{dy[i]} * (high[i] - low[i]) / (2. * step);
  }
  return gradient;
}

template <class Arch>
void check_layer_norm(Index count) {
  CAPTURE(count);
  const std::vector<float> x = test::normal_values(count, 6, 0.5f), dy = test::normal_values(count, 7),
                           scale = test::normal_values(count, 8, 1.f, 0.3f), start = test::normal_values(count, 9);
  std::vector<float> dx = start, d_scale = start, d_bias = start;
  simd::add_layer_norm_gradient_row<Arch>(x.data(), dy.data(), count, scale.data(), 1e-3f, d_scale.data(),
                                          d_bias.data(), dx.data());
  const auto normed = [&](std::vector<double> values, const reference::Values& by) {
    reference::layer_norm_row(values.data(), count, by, {}, 1e-3);
    return values;
  };
  const reference::Values scales = reference::to_double(scale);
  const auto expected =
      row_gradient([&](const std::vector<double>& v) { return normed(v, scales); }, reference::to_double(x), dy);
  const std::vector<double> n = normed(reference::to_double(x), reference::Values(scales.size(), 1.));
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(dx[i] == Approx(double{start[i]} + expected[i]).margin(1e-4));
    CHECK(d_scale[i] == Approx(double{start[i]} + double{dy[i]} * n[i]).margin(1e-5));
    CHECK(d_bias[i] == Approx(double{start[i]} + double{dy[i]}).margin(1e-6));
  }
}

template <class Arch>
void check_softmax(Index count) {
  CAPTURE(count);
  constexpr double factor = 0.7;
  const std::vector<float> x = test::normal_values(count, 10), dy = test::normal_values(count, 11);
  const auto softmax = [&](std::vector<double> values) {
    double sum = 0.;
    for (double& value : values) sum += value = std::exp(factor * value);
    for (double& value : values) value /= sum;
    return values;
  };
  const std::vector<double> p = softmax(reference::to_double(x));
  const std::vector<float> narrow(p.begin(), p.end());
  std::vector<float> found = dy;
  simd::softmax_gradient_row<Arch>(narrow.data(), found.data(), count, static_cast<float>(factor), found.data());
  const auto expected = row_gradient(softmax, reference::to_double(x), dy);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(found[i] == Approx(expected[i]).margin(1e-6));
}

/// Softmax down columns, with its gradient, against that of rows.
template <class Arch>
void check_softmax_columns(Index count, Index columns) {
  CAPTURE(count, columns);
  constexpr float factor = 0.3f;
  AlignedBuffer<float> scores(count * 16), dp(count * 16);
  std::ranges::copy(test::normal_values(count * 16, 12, 0.f, 4.f), scores.data());
  std::ranges::copy(test::normal_values(count * 16, 13), dp.data());
  AlignedBuffer<float> p = scores, ds = dp, exponentials = scores, inverse_sums(16);
  simd::softmax_gradient_columns<Arch>(p.data(), ds.data(), count, columns, factor);
  simd::exp_columns<Arch>(exponentials.data(), count, columns, factor, inverse_sums.data());
  for (Index col = 0; col < columns; ++col) {
    std::vector<float> row(static_cast<std::size_t>(count)), d = row;
    for (Index i = 0; i < count; ++i)
      row[static_cast<std::size_t>(i)] = scores[i * 16 + col], d[static_cast<std::size_t>(i)] = dp[i * 16 + col];
    simd::softmax_row<Arch>(row.data(), count, factor, row.data());
    simd::softmax_gradient_row<Arch>(row.data(), d.data(), count, factor, d.data());
    for (Index i = 0; i < count; ++i) {
      CHECK(p[i * 16 + col] == Approx(row[static_cast<std::size_t>(i)]).margin(1e-6));
      CHECK(ds[i * 16 + col] == Approx(d[static_cast<std::size_t>(i)]).margin(1e-6));
      CHECK(exponentials[i * 16 + col] * inverse_sums[col] == Approx(p[i * 16 + col]).margin(1e-7));
    }
  }
}

}  // namespace

TEST_CASE("products over rows equal plain loops") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index rows : {0, 1, 2, 33})
      for (const Index inputs : {1, 5, 6, 7, 13, 14, 15, 29})
        for (const Index outputs : test::counts_around(lanes<Arch>))
          check_transposed_product<Arch>(rows, inputs, outputs), check_assigned_product<Arch>(rows, inputs, outputs);
  });
}

TEST_CASE("slopes of activations are those of differences") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Activation activation :
         {Activation::gelu_tanh, Activation::gelu_erf, Activation::gelu_quick, Activation::relu}) {
      for (const Index count : test::counts_around(lanes<Arch>)) check_activation<Arch>(activation, count);
      check_slopes_far_away<Arch>(activation);
    }
  });
}

TEST_CASE("gradients of layer norm and softmax are those of differences") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : test::counts_around(lanes<Arch>))
      check_layer_norm<Arch>(count), check_softmax<Arch>(count);
  });
}

TEST_CASE("softmax and its gradient go down columns as along rows") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : {1, 2, 50})
      for (const Index columns : {1, 2, 7, 8, 9, 16}) check_softmax_columns<Arch>(count, columns);
  });
}

TEST_CASE("packed weights are transposed") {
  for (const Index rows : {1, 15, 16, 17, 32, 33, 70})
    for (const Index cols : {1, 16, 17, 31, 32, 33, 65}) {
      CAPTURE(rows, cols);
      const std::vector<float> w = test::normal_values(rows * cols, 12);
      AlignedBuffer<float> panels(simd::packed_size(rows, cols)), turned(simd::packed_size(cols, rows)),
          expected(simd::packed_size(cols, rows));
      const simd::PackedView packed = simd::pack(w.data(), cols, rows, cols, panels.data());
      const simd::PackedView view =
          simd::transpose_panels(packed, turned.data(), 0, ceil_div(rows, simd::panel_width(rows)));
      const simd::PackedView direct = simd::pack_transposed(w.data(), cols, cols, rows, expected.data());
      REQUIRE(view.panel == direct.panel);
      for (Index i = 0; i < expected.size(); ++i) REQUIRE(turned[i] == expected[i]);
    }
}
