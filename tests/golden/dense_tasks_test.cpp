/// Losses and metrics of segmentation and detection, with run-time sizes.
#include "golden/case_gradients.hpp"
#include "golden/router_outputs.hpp"

#include <moevit/train/average_precision.hpp>
#include <moevit/train/detection_losses.hpp>
#include <moevit/train/mean_iou.hpp>
#include <moevit/train/segmentation_losses.hpp>

#include <utility>

using namespace moevit;
using namespace moevit::test;

namespace {

std::vector<float> to_floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }

void run_segmentation(const GoldenCase& golden) {
  const RowMajorMatrix logits = matrix_of(golden, "inputs/logits");
  const std::vector<std::int32_t> labels = golden.integers("inputs/labels");
  const std::vector<float> class_weights = golden.floats("inputs/class_weight");
  const std::int32_t ignored = golden.config.at("ignore_index");
  const double smooth = golden.config.at("dice_smooth");
  CaseOutputs outputs(golden);
  CaseGradients gradients(golden);
  const auto compare = [&](const std::string& name, SegmentationLossOptions options) {
    options.ignored = ignored, options.smooth = smooth;
    RowMajorMatrix gradient = RowMajorMatrix::Constant(logits.rows(), logits.cols(), 9.f);
    outputs.close(name, segmentation_loss(view_of(logits), labels, view_of(gradient), options));
    outputs.close(name, segmentation_loss(view_of(logits), labels, options));
    gradients.close(name + "/logits", gradient);
  };
  const Index images = golden.config.at("batch");
  compare("cross_entropy", {});
  compare("cross_entropy_class_weight", {.class_weights = class_weights});
  compare("dice", {.cross_entropy = 0, .dice = 1});
  compare("dice_squared", {.cross_entropy = 0, .dice = 1, .squared = true});
  compare("dice_per_image", {.cross_entropy = 0, .dice = 1, .images = images});
  compare("cross_entropy_plus_dice", {.cross_entropy = 1, .dice = 1});
  outputs.close("dice_per_class",
                to_floats(dice_losses(view_of(logits), labels, {.ignored = ignored, .smooth = smooth})));
  outputs.finish();
  gradients.finish();
}

void run_mean_iou(const GoldenCase& golden) {
  const Index classes = golden.config.at("num_classes");
  PixelConfusion confusion(classes, golden.config.at("ignore_index"));
  confusion.add(golden.integers("inputs/labels"), golden.integers("inputs/prediction"));
  std::vector<float> iou, recall;
  for (Index label = 0; label < classes; ++label) {
    iou.push_back(static_cast<float>(confusion.iou(label)));
    recall.push_back(static_cast<float>(confusion.recall(label)));
  }
  CaseOutputs outputs(golden);
  outputs.equal("confusion", std::vector<std::int32_t>(confusion.counts().begin(), confusion.counts().end()));
  outputs.close("iou_per_class", iou);
  outputs.close("recall_per_class", recall);
  outputs.close("mean_iou", confusion.mean_iou());
  outputs.close("mean_accuracy", confusion.mean_accuracy());
  outputs.close("pixel_accuracy", confusion.pixel_accuracy());
  outputs.finish();
}

void run_focal(const GoldenCase& golden) {
  const RowMajorMatrix logits = matrix_of(golden, "inputs/logits");
  const std::vector<std::int32_t> labels = golden.integers("inputs/labels");
  const FocalOptions options{.alpha = golden.config.at("alpha"), .gamma = golden.config.at("gamma")};
  RowMajorMatrix gradient = logits, elements = logits;
  CaseOutputs outputs(golden);
  CaseGradients gradients(golden);
  outputs.close("loss", focal_loss(view_of(logits), labels, view_of(gradient), options));
  outputs.close("loss", focal_loss(view_of(logits), labels, options));
  gradients.close("inputs/logits", gradient);
  // A matrix of one element has one class, 0, and background, 1.
  for (Index row = 0; row < logits.rows(); ++row)
    for (Index col = 0; col < logits.cols(); ++col) {
      const std::vector<std::int32_t> label{labels[static_cast<std::size_t>(row)] == col ? 0 : 1};
      elements(row, col) = static_cast<float>(focal_loss({&logits(row, col), 1, 1}, label, options));
    }
  outputs.close("per_element", view_of(elements));
  std::int32_t positive = 0;
  for (const std::int32_t label : labels) positive += label != logits.cols();
  outputs.equal("num_positive", std::vector<std::int32_t>{positive});
  outputs.finish();
  gradients.finish();
}

/// The loss of every row alone.
std::vector<float> giou_by_row(const RowMajorMatrix& boxes, const RowMajorMatrix& targets) {
  std::vector<float> losses, slope(4);
  for (Index row = 0; row < boxes.rows(); ++row)
    losses.push_back(static_cast<float>(giou_loss(view_of(boxes).rows_of(row, 1), view_of(targets).rows_of(row, 1), {},
                                                  MatrixView(slope.data(), 1, 4))));
  return losses;
}

void run_giou(const GoldenCase& golden) {
  const RowMajorMatrix boxes = matrix_of(golden, "inputs/pred"), targets = matrix_of(golden, "inputs/target");
  CaseOutputs outputs(golden);
  CaseGradients gradients(golden);
  outputs.close("giou_loss", giou_by_row(boxes, targets));
  outputs.close("degenerate_giou_loss", giou_by_row(matrix_of(golden, "inputs/degenerate_pred"),
                                                    matrix_of(golden, "inputs/degenerate_target")));
  std::vector<float> overlaps;
  const auto box = [](const RowMajorMatrix& all, Index row) {
    const auto at = [&](Index col) { return static_cast<double>(all(row, col)); };
    return Box{at(0), at(1), at(2) - at(0), at(3) - at(1)};
  };
  for (Index row = 0; row < boxes.rows(); ++row)
    overlaps.push_back(static_cast<float>(iou(box(boxes, row), box(targets, row))));
  outputs.close("iou", overlaps);
  // Box 0 is its target, where edges lie on edges: the reference takes the mean over the others.
  std::vector<float> weights(static_cast<std::size_t>(boxes.rows()), 1.f / static_cast<float>(boxes.rows() - 1));
  weights.front() = 0.f;
  RowMajorMatrix gradient = boxes;
  outputs.close("loss", giou_loss(view_of(boxes), view_of(targets), weights, view_of(gradient)));
  gradients.close("inputs/pred", gradient);
  outputs.finish();
  gradients.finish();
}

Box box_of(const nlohmann::json& numbers) { return {numbers.at(0), numbers.at(1), numbers.at(2), numbers.at(3)}; }

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream stream(path);
  return nlohmann::json::parse(stream);
}

/// The images of a COCO file in the order of their numbers, and its categories' numbers rising.
struct CocoImages {
  std::vector<ScoredImage> images;
  std::vector<std::int32_t> categories;
};
CocoImages read_coco(const nlohmann::json& instances, const nlohmann::json& detections) {
  std::map<std::int64_t, ScoredImage> images;
  CocoImages result;
  for (const auto& category : instances.at("categories")) result.categories.push_back(category.at("id"));
  std::sort(result.categories.begin(), result.categories.end());
  const auto number_of = [&](const nlohmann::json& entry) {
    const auto found =
        std::find(result.categories.begin(), result.categories.end(), entry.at("category_id").get<std::int32_t>());
    return static_cast<std::int32_t>(found - result.categories.begin());
  };
  for (const auto& image : instances.at("images")) images[image.at("id")];
  for (const auto& entry : instances.at("annotations"))
    images.at(entry.at("image_id"))
        .truth.push_back({box_of(entry.at("bbox")), number_of(entry), entry.at("area"), entry.at("iscrowd") == 1});
  for (const auto& entry : detections)
    images.at(entry.at("image_id"))
        .detections.push_back({box_of(entry.at("bbox")), number_of(entry), entry.at("score")});
  for (auto& [number, image] : images) result.images.push_back(std::move(image));
  return result;
}

void run_coco(const GoldenCase& golden) {
  const auto file = [&](std::string_view name) { return (golden.directory / golden.file).parent_path() / name; };
  const nlohmann::json expected = read_json(file("expected.json")).flatten();
  const CocoImages coco = read_coco(read_json(file("instances.json")), read_json(file("detections.json")));
  const DetectionScores scores(coco.images, std::ssize(coco.categories));
  std::map<std::string, double> got{{"AP", scores.average_precision()},
                                    {"AP50", scores.average_precision_at(0)},
                                    {"AP75", scores.average_precision_at(5)},
                                    {"AP_small", scores.average_precision(ObjectSize::small)},
                                    {"AP_medium", scores.average_precision(ObjectSize::medium)},
                                    {"AP_large", scores.average_precision(ObjectSize::large)},
                                    {"AR_1", scores.average_recall(0)},
                                    {"AR_10", scores.average_recall(1)},
                                    {"AR_100", scores.average_recall(2)},
                                    {"AR_small", scores.average_recall(2, ObjectSize::small)},
                                    {"AR_medium", scores.average_recall(2, ObjectSize::medium)},
                                    {"AR_large", scores.average_recall(2, ObjectSize::large)}};
  for (std::size_t i = 0; i < coco.categories.size(); ++i) {
    const std::string number = std::to_string(coco.categories[i]);
    got["AP_per_class/" + number] = scores.average_precision_of(static_cast<std::int32_t>(i));
    got["AP50_per_class/" + number] = scores.average_precision_of(static_cast<std::int32_t>(i), 0);
  }
  for (std::size_t i = 0; i < DetectionScores::thresholds; ++i)
    got["AP_per_iou_threshold/0." + std::to_string(50 + 5 * i)] = scores.average_precision_at(i);
  std::size_t compared = 0;
  for (const auto& [name, value] : expected.items()) {
    INFO(golden.name << ": " << name);
    REQUIRE(got.contains(name.substr(1)));
    CHECK(std::abs(got.at(name.substr(1)) - value.get<double>()) <= 1e-6);
    ++compared;
  }
  CHECK(compared == got.size());
}

}  // namespace

TEST_CASE("golden: segmentation_loss") { run_kind("segmentation_loss", run_segmentation); }
TEST_CASE("golden: mean_iou") { run_kind("mean_iou", run_mean_iou); }
TEST_CASE("golden: sigmoid_focal_loss") { run_kind("sigmoid_focal_loss", run_focal); }
TEST_CASE("golden: giou_loss") { run_kind("giou_loss", run_giou); }
TEST_CASE("golden: coco_detection") { run_kind("coco_detection", run_coco); }
