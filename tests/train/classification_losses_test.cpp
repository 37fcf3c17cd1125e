#include "train/loss_gradient_check.hpp"

#include <moevit/train/accuracy.hpp>
#include <moevit/train/classification_losses.hpp>
#include <moevit/train/teacher_loss.hpp>

#include <limits>
#include <string>
#include <utility>

using namespace moevit;
using namespace moevit::test;

namespace {

const float not_a_number = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();

double softmax_loss(const reference::Matrix& x, const RowMajorMatrix& targets) {
  double loss = 0;
  for (Index row = 0; row < x.rows; ++row) {
    double sum = 0;
    for (Index col = 0; col < x.cols; ++col) sum += std::exp(x(row, col));
    for (Index col = 0; col < x.cols; ++col)
      loss -= static_cast<double>(targets(row, col)) * (x(row, col) - std::log(sum)) / static_cast<double>(x.rows);
  }
  return loss;
}

double sigmoid_loss(const reference::Matrix& x, const RowMajorMatrix& targets) {
  double loss = 0;
  for (Index row = 0; row < x.rows; ++row)
    for (Index col = 0; col < x.cols; ++col) {
      const double target = static_cast<double>(targets(row, col)), value = x(row, col);
      loss += target * std::log1p(std::exp(-value)) + (1 - target) * std::log1p(std::exp(value));
    }
  return loss / static_cast<double>(x.rows);
}

double divergence(const reference::Matrix& x, const RowMajorMatrix& teacher, double temperature, Index first_token) {
  double loss = 0;
  for (Index row = first_token; row < x.rows; ++row) {
    reference::Matrix p = reference::Matrix(const_view(teacher)).rows_of(row, 1), q = x.rows_of(row, 1);
    reference::softmax_row(p.row(0), p.cols, 1 / temperature);
    reference::softmax_row(q.row(0), q.cols, 1 / temperature);
    for (Index i = 0; i < p.cols; ++i) loss += p(0, i) * std::log(p(0, i) / q(0, i));
  }
  return loss / static_cast<double>(x.rows - first_token);
}

}  // namespace

TEST_CASE("softmax cross-entropy of a row by hand") {
  // logits ln 1, ln 2, ln 5: probabilities 1/8, 2/8, 5/8.
  const float logits[] = {0.f, std::log(2.f), std::log(5.f)};
  const std::vector<std::int32_t> label{1};
  float gradient[] = {9.f, 9.f, 9.f};  // is assigned
  CHECK(softmax_cross_entropy({logits, 1, 3}, label, MatrixView(gradient, 1, 3)) == Approx(std::log(4.)));
  CHECK(gradient[0] == Approx(0.125));
  CHECK(gradient[1] == Approx(-0.75));
  CHECK(gradient[2] == Approx(0.625));
  CHECK(softmax_cross_entropy({logits, 1, 3}, label, 0.3) ==
        Approx(0.8 * std::log(4.) + 0.1 * std::log(8.) + 0.1 * std::log(1.6)));
  CHECK(softmax_cross_entropy({logits, 0, 3}, std::span<const std::int32_t>()) == 0);
}

TEST_CASE("softmax cross-entropy: gradients are those of central differences") {
  for (const auto& [rows, classes] : {std::pair<Index, Index>{1, 1}, {1, 5}, {7, 3}, {4, 17}}) {
    CAPTURE(rows, classes);
    const RowMajorMatrix logits = random_logits(rows, classes, 3), targets = random_logits(rows, classes, 4).cwiseAbs();
    RowMajorMatrix gradient = filled_like(logits, 5.f);
    const double loss = softmax_cross_entropy(const_view(logits), const_view(targets), view(gradient));
    const auto reference_loss = [&](const reference::Matrix& x) { return softmax_loss(x, targets); };
    CHECK(loss == Approx(reference_loss(reference::Matrix(const_view(logits)))));
    CHECK(loss == softmax_cross_entropy(const_view(logits), const_view(targets)));
    check_gradient(logits, 0.f, gradient, reference_loss);
    gradient = filled_like(logits, 0.5f);
    add_router_cross_entropy(const_view(logits), const_view(targets), 2, view(gradient));
    check_gradient(logits, 0.5f, gradient, [&](const auto& x) { return 2 * reference_loss(x); });
  }
}

TEST_CASE("sigmoid cross-entropy: gradients are those of central differences, large logits stay finite") {
  for (const auto& [rows, classes] : {std::pair<Index, Index>{1, 1}, {5, 3}, {2, 17}}) {
    CAPTURE(rows, classes);
    const RowMajorMatrix logits = random_logits(rows, classes, 5), targets = random_logits(rows, classes, 6).cwiseAbs();
    RowMajorMatrix gradient = filled_like(logits, 5.f);
    const auto loss = [&](const reference::Matrix& x) { return sigmoid_loss(x, targets); };
    CHECK(sigmoid_cross_entropy(const_view(logits), const_view(targets), view(gradient)) ==
          Approx(loss(reference::Matrix(const_view(logits)))));
    check_gradient(logits, 0.f, gradient, loss);
    CHECK(sigmoid_cross_entropy(const_view(logits), const_view(targets), {.over_classes = OverClasses::mean}) ==
          Approx(loss(reference::Matrix(const_view(logits))) / static_cast<double>(classes)));
  }
  const float large[] = {-3e38f, 3e38f}, on[] = {0.f, 1.f};
  float gradient[2];
  CHECK(sigmoid_cross_entropy({large, 1, 2}, ConstMatrixView(on, 1, 2), MatrixView(gradient, 1, 2)) == 0);
  CHECK(gradient[0] == 0.f);
  CHECK(gradient[1] == 0.f);
}

TEST_CASE("teacher loss: gradients are those of central differences, for the selected tokens only") {
  for (const auto& [tokens, experts] : {std::pair<Index, Index>{2, 1}, {2, 4}, {6, 5}}) {
    for (const double temperature : {1., 2.5}) {
      CAPTURE(tokens, experts, temperature);
      const RowMajorMatrix student = random_logits(tokens, experts, 7), teacher = random_logits(tokens, experts, 8);
      RowMajorMatrix gradient = filled_like(student, 5.f);
      const auto loss_from = [&](Index first) {
        return [&teacher, temperature, first](const reference::Matrix& x) {
          return divergence(x, teacher, temperature, first);
        };
      };
      TeacherLossOptions options{.temperature = temperature};
      teacher_loss(const_view(student), const_view(teacher), view(gradient), options);
      check_gradient(student, 0.f, gradient, loss_from(0));
      std::vector<std::uint8_t> selected(static_cast<std::size_t>(tokens), 1);
      const Index half = tokens / 2;  // clang 14 captures no structured binding
      std::fill_n(selected.begin(), half, std::uint8_t{0});
      options.selected = selected;
      gradient = filled_like(student, 1.f);
      CHECK(add_teacher_loss(const_view(student), const_view(teacher), 3, view(gradient), options) ==
            Approx(loss_from(half)(reference::Matrix(const_view(student)))).margin(1e-12));
      check_gradient(student, 1.f, gradient, [&](const auto& x) { return 3 * loss_from(half)(x); });
      std::fill(selected.begin(), selected.end(), std::uint8_t{0});
      CHECK(teacher_loss(const_view(student), const_view(teacher), view(gradient), options) == 0);
      CHECK((gradient == filled_like(student, 0.f)));
    }
  }
}

TEST_CASE("losses refuse logits that are not finite and labels that are no classes, and say where") {
  RowMajorMatrix logits = random_logits(3, 4, 9);
  RowMajorMatrix gradient = filled_like(logits, 0.f);
  const std::vector<std::int32_t> labels{0, 3, 1}, wrong{0, 4, 1}, negative{0, 1, -1}, few{0, 1};
  const auto message_of = [&](const std::vector<std::int32_t>& given) {
    try {
      softmax_cross_entropy(const_view(logits), given, view(gradient));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK(message_of(labels) == "no error");
  CHECK(message_of(wrong) == "softmax cross-entropy: row 1: expected a label from 0 to 3, found 4");
  CHECK(message_of(negative) == "softmax cross-entropy: row 2: expected a label from 0 to 3, found -1");
  CHECK(message_of(few) == "softmax cross-entropy: expected 3 labels, found 2");
  for (const float value : {not_a_number, infinity, -infinity}) {
    logits(2, 1) = value;
    CHECK(message_of(labels).starts_with("softmax cross-entropy: row 2: expected finite numbers"));
    CHECK_THROWS_AS(sigmoid_cross_entropy(const_view(logits), const_view(logits)), Error);
    CHECK_THROWS_AS(teacher_loss(const_view(logits), const_view(gradient)), Error);
    CHECK_THROWS_AS(top_classes(const_view(logits), 1), Error);
  }
  CHECK_THROWS_AS(softmax_cross_entropy(const_view(gradient), const_view(random_logits(3, 5, 1))), Error);
  CHECK_THROWS_AS(teacher_loss(const_view(gradient), const_view(gradient), {.temperature = 0}), Error);
}

TEST_CASE("top-k accuracy: ties go to the lower class") {
  const float logits[] = {1, 3, 3, 0,  //
                          2, 2, 2, 2};
  const ConstMatrixView rows(logits, 2, 4);
  const std::vector<std::int32_t> labels{2, 1};
  CHECK(top_classes(rows, 2) == std::vector<std::int32_t>{1, 2, 0, 1});
  CHECK(top_classes(rows, 9).size() == 8);
  CHECK(count_correct(rows, labels, 1) == 0);
  CHECK(count_correct(rows, labels, 2) == 2);
  CHECK(top_k_accuracy(rows, labels, 2) == 1);
  CHECK_THROWS_AS(top_classes(rows, 0), Error);
}
