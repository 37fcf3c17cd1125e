// The gradient of one head of attention against plain loops in double precision.
#include "catch.hpp"
#include "random_values.hpp"
#include "reference.hpp"

#include <moevit/layers/attention_core_gradient.hpp>

using namespace moevit;

namespace {

struct CoreCase {
  Index queries = 0;
  Index tokens = 0;
  Index width = 0;
  bool has_bias = false;
};

/// Rows of one head among others, further apart than they need.
struct Rows {
  Index rows, width, stride = width + 3;
  std::vector<float> values;

  Rows(Index rows_, Index width_, unsigned seed)
      : rows(rows_), width(width_), values(test::normal_values(rows * stride, seed)) {}
  MatrixView view() { return {values.data(), rows, width, stride}; }
};

double dot(ConstMatrixView a, Index i, ConstMatrixView b, Index j) {
  double sum = 0.;
  for (Index col = 0; col < a.cols(); ++col) sum += double{a(i, col)} * double{b(j, col)};
  return sum;
}

using Doubles = std::vector<double>;

struct Expected {
  Doubles query, key, value, scores;  ///< gradients
};

Expected expected_gradient(const HeadParts<ConstMatrixView>& head, float factor, const float* bias,
                           ConstMatrixView dy) {
  const Index queries = head.query.rows(), tokens = head.key.rows(), width = head.query.cols();
  const auto zeros = [](Index count) { return Doubles(static_cast<std::size_t>(count), 0.); };
  Expected d{zeros(queries * width), zeros(tokens * width), zeros(tokens * width), zeros(queries * tokens)};
  const auto at = [](Doubles& values, Index i) -> double& { return values[static_cast<std::size_t>(i)]; };
  for (Index q = 0; q < queries; ++q) {
    Doubles p = zeros(tokens);
    double sum = 0., mean = 0.;
    for (Index t = 0; t < tokens; ++t) {
      const double own = bias ? double{bias[q * simd::score_bias_stride(tokens) + t]} : 0.;
      sum += at(p, t) = std::exp(double{factor} * (dot(head.query, q, head.key, t) + own));
    }
    for (Index t = 0; t < tokens; ++t) mean += (at(p, t) /= sum) * dot(dy, q, head.value, t);
    for (Index t = 0; t < tokens; ++t) {
      const double ds = double{factor} * at(p, t) * (dot(dy, q, head.value, t) - mean);
      at(d.scores, q * tokens + t) = ds;
      for (Index col = 0; col < width; ++col) {
        at(d.query, q * width + col) += ds * double{head.key(t, col)};
        at(d.key, t * width + col) += ds * double{head.query(q, col)};
        at(d.value, t * width + col) += at(p, t) * double{dy(q, col)};
      }
    }
  }
  return d;
}

void check_close(ConstMatrixView found, const Doubles& expected) {
  for (Index row = 0; row < found.rows(); ++row)
    for (Index col = 0; col < found.cols(); ++col)
      REQUIRE(found(row, col) ==
              Approx(expected[static_cast<std::size_t>(row * found.cols() + col)]).margin(2e-5).epsilon(2e-5));
}

void check_core(const CoreCase& sizes) {
  const auto [queries, tokens, width, has_bias] = sizes;
  CAPTURE(queries, tokens, width, has_bias);
  Rows query(queries, width, 1), key(tokens, width, 2), value(tokens, width, 3), dy(queries, width, 4);
  Rows d_query(queries, width, 5), d_key(tokens, width, 6), d_value(tokens, width, 7);
  const Index bias_stride = simd::score_bias_stride(tokens);
  std::vector<float> bias(static_cast<std::size_t>(queries * bias_stride), 0.f);
  const std::vector<float> random = test::normal_values(queries * bias_stride, 8);
  for (Index q = 0; q < queries; ++q)
    std::copy_n(random.data() + q * bias_stride, tokens, bias.data() + q * bias_stride);
  const HeadParts<ConstMatrixView> head{query.view(), key.view(), value.view()};
  const float factor = 1.f / std::sqrt(static_cast<float>(width));
  const float* const given = has_bias ? bias.data() : nullptr;
  Arena arena(attention_core_gradient_bytes(std::max(queries, tokens), width));
  const Expected expected = expected_gradient(head, factor, given, dy.view());
  Index visits = 0;
  attention_core_gradient(head, factor, given, dy.view(), {d_query.view(), d_key.view(), d_value.view()}, arena,
                          [&](ConstMatrixView ds) { check_close(ds, expected.scores), ++visits; });
  CHECK(visits == 1);
  check_close(d_query.view(), expected.query);
  check_close(d_key.view(), expected.key);
  check_close(d_value.view(), expected.value);
}

}  // namespace

TEST_CASE("the gradient of the attention core agrees with plain loops") {
  for (const bool has_bias : {false, true})
    for (const CoreCase sizes : {CoreCase{1, 1, 1}, CoreCase{3, 5, 7}, CoreCase{50, 50, 16}, CoreCase{1, 33, 20},
                                 CoreCase{33, 1, 16}, CoreCase{17, 64, 64}, CoreCase{49, 49, 32}})
      check_core({sizes.queries, sizes.tokens, sizes.width, has_bias});
}

TEST_CASE("the gradient of the attention core is zero for keys that no query asks for") {
  Rows query(0, 5, 1), key(4, 5, 2), value(4, 5, 3), dy(0, 5, 4), d_query(0, 5, 5), d_key(4, 5, 6), d_value(4, 5, 7);
  Arena arena(attention_core_gradient_bytes(4, 5));
  attention_core_gradient({query.view(), key.view(), value.view()}, 1.f, dy.view(),
                          {d_query.view(), d_key.view(), d_value.view()}, arena);
  check_close(d_key.view(), Doubles(20, 0.));
  check_close(d_value.view(), Doubles(20, 0.));
}
