/// Losses of training with their gradients, targets and accuracy, with run-time sizes.
#include "golden/case_gradients.hpp"
#include "golden/router_outputs.hpp"

#include <moevit/moe/loss_gradients.hpp>
#include <moevit/train/accuracy.hpp>
#include <moevit/train/classification_losses.hpp>
#include <moevit/train/targets.hpp>
#include <moevit/train/teacher_loss.hpp>

#include <functional>
#include <utility>

using namespace moevit;
using namespace moevit::test;

namespace {

RowMajorMatrix zeros_like(const RowMajorMatrix& matrix) { return RowMajorMatrix::Zero(matrix.rows(), matrix.cols()); }

/// One loss per row, by asking for the loss of each row alone.
std::vector<float> by_row(Index rows, const std::function<double(Index)>& loss) {
  std::vector<float> losses;
  for (Index row = 0; row < rows; ++row) losses.push_back(static_cast<float>(loss(row)));
  return losses;
}

ConstMatrixView row_of(const RowMajorMatrix& matrix, Index row) { return view_of(matrix).rows_of(row, 1); }

void run_auxiliary_gradients(const GoldenCase& golden) {
  const RowMajorMatrix logits = matrix_of(golden, "inputs/logits");
  const RowMajorMatrix noisy = logits + matrix_of(golden, "inputs/noise");
  const Index selected = golden.config.at("num_selected_experts");
  const double noise_std = golden.config.at("noise_std");
  const ConstMatrixView no_noise(nullptr, 0, logits.cols());
  CaseGradients gradients(golden);
  const auto compare = [&](const std::string& loss, ConstMatrixView noisy_logits, const AuxiliaryLossWeights& weights) {
    RowMajorMatrix gradient = zeros_like(logits);
    add_auxiliary_gradient(view_of(logits), noisy_logits, selected, noise_std, weights, 1, view_of(gradient));
    gradients.close(loss + "/inputs/logits", gradient);
  };
  compare("importance_loss", view_of(noisy), {.importance = 1, .load = 0, .gshard = 0});
  compare("load_loss", view_of(noisy), {.importance = 0, .load = 1, .gshard = 0});
  compare("gshard_loss", no_noise, {.importance = 0, .load = 0, .gshard = 1});
  compare("gshard_loss_noisy", view_of(noisy), {.importance = 0, .load = 0, .gshard = 1});
  gradients.finish();
}

void run_z_gradient(const GoldenCase& golden) {
  const RowMajorMatrix logits = matrix_of(golden, "inputs/logits");
  RowMajorMatrix gradient = zeros_like(logits);
  add_router_z_gradient(view_of(logits), 1, view_of(gradient));
  CaseGradients gradients(golden);
  gradients.close("inputs/logits", gradient);
  gradients.finish();
}

void run_label_smoothing(const GoldenCase& golden) {
  const RowMajorMatrix logits = matrix_of(golden, "inputs/logits");
  const std::vector<std::int32_t> labels = golden.integers("inputs/labels");
  const double smoothing = golden.config.at("smoothing");
  RowMajorMatrix gradient = zeros_like(logits), targets = zeros_like(logits), from_targets = zeros_like(logits);
  one_hot_targets(labels, view_of(targets), smoothing);
  CaseOutputs outputs(golden);
  CaseGradients gradients(golden);
  outputs.close("targets", view_of(targets));
  outputs.close("loss", softmax_cross_entropy(view_of(logits), labels, view_of(gradient), smoothing));
  outputs.close("loss", softmax_cross_entropy(view_of(std::as_const(logits)), view_of(std::as_const(targets)),
                                              view_of(from_targets)));
  outputs.close("per_example", by_row(logits.rows(), [&](Index row) {
                  return softmax_cross_entropy(row_of(logits, row),
                                               std::span(labels).subspan(static_cast<std::size_t>(row), 1), smoothing);
                }));
  gradients.close("inputs/logits", gradient);
  gradients.close("inputs/logits", from_targets);
  outputs.finish();
  gradients.finish();
}

/// One element of a matrix as a matrix.
ConstMatrixView element(const RowMajorMatrix& matrix, Index i) { return {matrix.data() + i, 1, 1}; }

void run_sigmoid(const GoldenCase& golden) {
  const RowMajorMatrix logits = matrix_of(golden, "inputs/logits");
  const RowMajorMatrix hard = matrix_of(golden, "inputs/targets"), soft = matrix_of(golden, "inputs/soft_targets");
  const std::vector<float> positive = golden.floats("inputs/pos_weight"), weights = golden.floats("inputs/weights");
  CaseOutputs outputs(golden);
  CaseGradients gradients(golden);
  const auto compare = [&](const std::string& name, const RowMajorMatrix& targets, bool has_weights,
                           bool has_positive) {
    SigmoidOptions options{.over_classes = OverClasses::mean};
    if (has_weights) options.weights = weights;
    if (has_positive) options.positive_weights = positive;
    RowMajorMatrix gradient = zeros_like(logits);
    outputs.close(name + "/loss", sigmoid_cross_entropy(view_of(logits), view_of(targets), view_of(gradient), options));
    gradients.close(name + "/logits", gradient);
    outputs.close(name + "/per_element", by_row(logits.size(), [&](Index i) {
                    SigmoidOptions one{.over_classes = OverClasses::sum};
                    if (has_weights) one.weights = std::span(weights).subspan(static_cast<std::size_t>(i), 1);
                    if (has_positive)
                      one.positive_weights =
                          std::span(positive).subspan(static_cast<std::size_t>(i % logits.cols()), 1);
                    return sigmoid_cross_entropy(element(logits, i), element(targets, i), one);
                  }));
  };
  compare("hard", hard, false, false);
  compare("soft", soft, false, false);
  compare("weighted", hard, true, false);
  compare("pos_weight", hard, false, true);
  outputs.finish();
  gradients.finish();
}

void run_super_classes(const GoldenCase& golden) {
  const RowMajorMatrix logits = matrix_of(golden, "inputs/logits");
  const std::vector<std::int32_t> super_class_of = golden.integers("inputs/class_to_super_class");
  std::vector<std::int32_t> labels = golden.integers("inputs/labels");
  const Index rows = std::ssize(labels), classes = std::ssize(super_class_of);
  const bool is_mixed = golden.has("inputs/labels_mixed_in");
  std::vector<float> shares = is_mixed ? golden.floats("inputs/lambda") : std::vector<float>(labels.size(), 1.f);
  // The labels mixed in are more rows, the partners of the first ones.
  const std::vector<std::int32_t> others = is_mixed ? golden.integers("inputs/labels_mixed_in") : labels;
  labels.insert(labels.end(), others.begin(), others.end());
  std::vector<Index> partners(labels.size());
  for (std::size_t i = 0; i < partners.size(); ++i) partners[i] = (static_cast<Index>(i) + rows) % std::ssize(labels);
  shares.resize(labels.size(), 1.f);
  RowMajorMatrix plain(2 * rows, classes), all(2 * rows, classes);
  one_hot_targets(labels, view_of(plain));
  mix_rows(view_of(std::as_const(plain)), partners, shares, view_of(all));
  const RowMajorMatrix mixed = all.topRows(rows);
  RowMajorMatrix targets(rows, logits.cols()), gradient = zeros_like(logits), added = zeros_like(logits);
  super_class_targets(view_of(mixed), super_class_of, view_of(targets));
  const ConstMatrixView wanted = view_of(std::as_const(targets));
  CaseOutputs outputs(golden);
  CaseGradients gradients(golden);
  outputs.close("class_targets", {mixed.data(), static_cast<std::size_t>(mixed.size())});
  outputs.close("super_class_targets", view_of(targets));
  outputs.close("loss", softmax_cross_entropy(view_of(logits), wanted, view_of(gradient)));
  outputs.close("loss", add_router_cross_entropy(view_of(logits), wanted, 1, view_of(added)));
  outputs.close("per_example", by_row(rows, [&](Index row) {
                  return softmax_cross_entropy(row_of(logits, row), row_of(targets, row));
                }));
  gradients.close("inputs/logits", gradient);
  gradients.close("inputs/logits", added);
  outputs.finish();
  gradients.finish();
}

void run_teacher(const GoldenCase& golden) {
  const RowMajorMatrix student = matrix_of(golden, "inputs/student_logits");
  const RowMajorMatrix teacher = matrix_of(golden, "inputs/teacher_logits");
  const TeacherLossOptions options{.temperature = golden.config.at("temperature")};
  RowMajorMatrix gradient = zeros_like(student);
  CaseOutputs outputs(golden);
  CaseGradients gradients(golden);
  outputs.close("loss", teacher_loss(view_of(student), view_of(teacher), view_of(gradient), options));
  outputs.close("kl", by_row(student.rows(), [&](Index row) {
                  return teacher_loss(row_of(student, row), row_of(teacher, row), options);
                }));
  gradients.close("inputs/student_logits", gradient);
  outputs.finish();
  gradients.finish();
}

void run_mixing(const GoldenCase& golden) {
  REQUIRE(golden.config.at("partner").get<std::string>() == "batch reversed");
  const std::vector<float> pixels = golden.floats("inputs/images"), lambdas = golden.floats("inputs/lambda");
  const std::vector<std::int32_t> labels = golden.integers("inputs/labels");
  const std::vector<std::int32_t> rows = golden.integers("inputs/center_y"), cols = golden.integers("inputs/center_x");
  const Shape& shape = golden.shape("inputs/images");
  const Index count = shape[0], height = shape[1], width = shape[2], classes = golden.config.at("num_classes");
  const ConstMatrixView images(pixels.data(), count, height * width * shape[3]);
  RowMajorMatrix targets(count, classes), mixed_targets(count, classes), mixed(count, images.cols());
  one_hot_targets(labels, view_of(targets), golden.config.at("smoothing"));
  std::vector<Index> partners(labels.size());
  for (std::size_t i = 0; i < partners.size(); ++i) partners[i] = count - 1 - static_cast<Index>(i);
  CaseOutputs outputs(golden);
  const auto compare = [&](const std::string& name, float share) {
    mix_rows(view_of(std::as_const(targets)), partners, std::vector<float>(labels.size(), share),
             view_of(mixed_targets));
    outputs.close(name + "/images", view_of(mixed));
    outputs.close(name + "/targets", view_of(mixed_targets));
  };
  std::vector<std::int32_t> corners;
  std::vector<float> shares;
  for (std::size_t i = 0; i < lambdas.size(); ++i) {
    mix_rows(images, partners, std::vector<float>(labels.size(), lambdas[i]), view_of(mixed));
    compare("mixup_" + std::to_string(i), lambdas[i]);
    const PixelBox box = cutmix_box(height, width, lambdas[i], rows[i], cols[i]);
    for (const Index corner : {box.first_row, box.last_row, box.first_column, box.last_column})
      corners.push_back(static_cast<std::int32_t>(corner));
    shares.push_back(cutmix_share(box, height, width));
    cutmix_images(images, height, width, partners, std::vector<PixelBox>(labels.size(), box), view_of(mixed));
    compare("cutmix_" + std::to_string(i), shares.back());
  }
  outputs.equal("cutmix_box", corners);
  outputs.close("cutmix_lambda", shares);
  outputs.finish();
}

void run_accuracy(const GoldenCase& golden) {
  const RowMajorMatrix logits = matrix_of(golden, "inputs/logits");
  const std::vector<std::int32_t> labels = golden.integers("inputs/labels");
  CaseOutputs outputs(golden);
  outputs.equal("top5", top_classes(view_of(logits), 5));
  for (const Index k : {1, 5}) {
    const std::string number = std::to_string(k);
    std::vector<Index> correct;
    for (Index row = 0; row < logits.rows(); ++row)
      correct.push_back(
          count_correct(row_of(logits, row), std::span(labels).subspan(static_cast<std::size_t>(row), 1), k));
    outputs.equal("correct" + number, correct);
    outputs.equal("num_correct" + number, std::vector<Index>{count_correct(view_of(logits), labels, k)});
    outputs.close(k == 1 ? "top1" : "top5_accuracy", top_k_accuracy(view_of(logits), labels, k));
  }
  outputs.finish();
}

}  // namespace

TEST_CASE("golden: gradients of aux_losses") { run_kind("aux_losses", run_auxiliary_gradients); }
TEST_CASE("golden: gradients of router_z_loss") { run_kind("router_z_loss", run_z_gradient); }
TEST_CASE("golden: label_smoothing") { run_kind("label_smoothing", run_label_smoothing); }
TEST_CASE("golden: sigmoid_bce") { run_kind("sigmoid_bce", run_sigmoid); }
TEST_CASE("golden: super_class_loss") { run_kind("super_class_loss", run_super_classes); }
TEST_CASE("golden: teacher_routing_loss") { run_kind("teacher_routing_loss", run_teacher); }
TEST_CASE("golden: mixup_cutmix") { run_kind("mixup_cutmix", run_mixing); }
TEST_CASE("golden: topk_accuracy") { run_kind("topk_accuracy", run_accuracy); }
