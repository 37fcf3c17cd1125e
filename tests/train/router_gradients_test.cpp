/// Gradients of the auxiliary losses by central differences, with odd sizes, ties and equal importance.
#include "train/loss_gradient_check.hpp"

#include <moevit/moe/loss_gradients.hpp>

#include <limits>

using namespace moevit;
using namespace moevit::test;
using reference::Matrix;
using reference::Values;

namespace {

double variation(const Values& values) {
  double mean = 0, variance = 0;
  const double count = static_cast<double>(values.size());
  for (const double value : values) mean += value / count;
  for (const double value : values) variance += (value - mean) * (value - mean) / count;
  return variance / (mean * mean);
}

Matrix gates_of(Matrix logits) {
  for (Index row = 0; row < logits.rows; ++row) reference::softmax_row(logits.row(row), logits.cols, 1.);
  return logits;
}

double importance(const Matrix& logits) {
  const Matrix gates = gates_of(logits);
  Values sums(static_cast<std::size_t>(gates.cols));
  for (Index row = 0; row < gates.rows; ++row)
    for (Index col = 0; col < gates.cols; ++col) sums[static_cast<std::size_t>(col)] += gates(row, col);
  return variation(sums);
}

/// The expert with the k-th largest value of a row, ties to the lower one.
Index kth_best(const float* values, Index count, Index k) {
  std::vector<Index> order(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) order[static_cast<std::size_t>(i)] = i;
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return values[a] > values[b]; });
  return order[static_cast<std::size_t>(k - 1)];
}

/// The load loss with the selected elements held fixed, as ties make them jump.
double load(const Matrix& logits, const RowMajorMatrix& noise, const std::vector<Index>& selected, double deviation) {
  Values loads(static_cast<std::size_t>(logits.cols));
  for (Index row = 0; row < logits.rows; ++row) {
    const Index best = selected[static_cast<std::size_t>(row)];
    const double threshold = logits(row, best) + static_cast<double>(noise(row, best));
    for (Index col = 0; col < logits.cols; ++col)
      loads[static_cast<std::size_t>(col)] += 0.5 *
                                              std::erfc((threshold - logits(row, col)) / deviation / std::sqrt(2.)) /
                                              static_cast<double>(logits.rows);
  }
  return variation(loads);
}

/// The GShard loss with the best experts held fixed.
double gshard(const Matrix& logits, const std::vector<Index>& best) {
  const Matrix gates = gates_of(logits);
  double loss = 0;
  for (const Index expert : best)
    for (Index row = 0; row < gates.rows; ++row) loss += gates(row, expert);
  const double tokens = static_cast<double>(gates.rows);
  return loss * static_cast<double>(gates.cols) / (tokens * tokens);
}

double z_loss(const Matrix& logits) {
  double loss = 0;
  for (Index row = 0; row < logits.rows; ++row) {
    double sum = 0;
    for (Index col = 0; col < logits.cols; ++col) sum += std::exp(logits(row, col));
    loss += std::log(sum) * std::log(sum) / static_cast<double>(logits.rows);
  }
  return loss;
}

void check_all(const RowMajorMatrix& logits, const RowMajorMatrix& noise, Index k, double noise_std) {
  CAPTURE(logits.rows(), logits.cols(), k);
  const RowMajorMatrix noisy = logits + noise;
  std::vector<Index> selected, best;
  for (Index row = 0; row < logits.rows(); ++row) {
    selected.push_back(kth_best(noisy.data() + row * noisy.cols(), noisy.cols(), k));
    best.push_back(kth_best(noisy.data() + row * noisy.cols(), noisy.cols(), 1));
  }
  const double deviation = noise_std / static_cast<double>(logits.cols());
  const auto noisy_point = [&](const Matrix& x) {
    Matrix sum = x;
    for (Index i = 0; i < noise.size(); ++i)
      sum.values[static_cast<std::size_t>(i)] += static_cast<double>(noise.data()[i]);
    return sum;
  };
  const auto total = [&](const Matrix& x) {
    return 2 * (0.5 * importance(x) + 0.25 * load(x, noise, selected, deviation) + 0.75 * gshard(noisy_point(x), best) +
                0.125 * z_loss(x));
  };
  const AuxiliaryLossWeights weights{.importance = 0.5, .load = 0.25, .gshard = 0.75, .z = 0.125};
  const Matrix point(const_view(logits));
  CHECK(2 * auxiliary_losses(const_view(logits), const_view(noisy), k, noise_std, weights).total ==
        Approx(total(point)).epsilon(1e-5).margin(1e-9));
  RowMajorMatrix gradient = filled_like(logits, 0.5f);
  add_auxiliary_gradient(const_view(logits), const_view(noisy), k, noise_std, weights, 2, view(gradient));
  check_gradient(logits, 0.5f, gradient, total);
  gradient = filled_like(logits, -0.25f);
  add_router_z_gradient(const_view(logits), 0.5, view(gradient));
  check_gradient(logits, -0.25f, gradient, [](const Matrix& x) { return 0.5 * z_loss(x); });
}

}  // namespace

TEST_CASE("auxiliary losses: gradients are those of central differences") {
  for (const Index tokens : {1, 2, 7})
    for (const Index experts : {1, 2, 3, 8})
      for (const Index k : {Index{1}, experts}) {
        const float deviation = 0.5f / static_cast<float>(experts);
        check_all(random_logits(tokens, experts, 11, 0.4f), random_logits(tokens, experts, 12, deviation), k, 0.5);
      }
}

TEST_CASE("auxiliary losses: gradients with ties go to the lower expert") {
  RowMajorMatrix logits(4, 3), noise = RowMajorMatrix::Zero(4, 3);
  logits << 0.5f, 0.5f, 0.f,  //
      0.f, 0.f, 0.f,          //
      -1.f, 0.5f, 0.5f,       //
      0.25f, 0.f, 0.25f;
  for (const Index k : {1, 2, 3}) check_all(logits, noise, k, 3.);
}

TEST_CASE("equal importance and a single expert have a gradient of exactly 0") {
  for (const Index experts : {1, 3, 7, 10}) {
    CAPTURE(experts);
    const RowMajorMatrix zeros = RowMajorMatrix::Zero(5, experts);
    RowMajorMatrix gradient = RowMajorMatrix::Zero(5, experts);
    add_importance_gradient(const_view(zeros), 1, view(gradient));
    add_load_gradient(const_view(zeros), const_view(zeros), 1, 0.1, 1, view(gradient));
    CHECK((gradient == zeros));
  }
  const RowMajorMatrix logits = random_logits(5, 1, 3);
  RowMajorMatrix gradient = RowMajorMatrix::Zero(5, 1);
  add_auxiliary_gradient(const_view(logits), const_view(logits), 1, 1, {.importance = 1, .load = 1, .gshard = 1}, 1,
                         view(gradient));
  CHECK((gradient == RowMajorMatrix::Zero(5, 1)));
}

TEST_CASE("gradients of auxiliary losses: no tokens, and what is refused") {
  RowMajorMatrix none(0, 4);
  add_auxiliary_gradient(const_view(none), const_view(none), 2, 1, {.importance = 1, .load = 1, .gshard = 1}, 1,
                         view(none));
  RowMajorMatrix logits = random_logits(3, 4, 1), gradient = filled_like(logits, 0.f);
  CHECK_THROWS_AS(add_load_gradient(const_view(logits), const_view(logits), 2, 0., 1, view(gradient)), Error);
  CHECK_THROWS_AS(add_load_gradient(const_view(logits), const_view(logits), 5, 1., 1, view(gradient)), Error);
  CHECK_THROWS_AS(add_router_z_gradient(const_view(logits), 1, view(none)), Error);
  logits(1, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(add_importance_gradient(const_view(logits), 1, view(gradient)), Error);
}
