// Training runs of segmenters and detectors: they learn, go on where they were ended, and say what is wrong.
#include "train/dense_training_runs.hpp"

#include <limits>

using namespace moevit;
using namespace moevit::test;

namespace {

const TwoRectangles& rectangles() {
  static const TwoRectangles images(40);
  return images;
}

}  // namespace

TEST_CASE("a run of a segmenter that is ended anywhere goes on to the bits of an unbroken one") {
  const SegmentationDataset dataset = rectangles().segmentation();
  check_resumes(dense_options({}),
                [&](const TrainerOptions& options, Index last) { train_dense<TinySegmenter>(dataset, options, last); });
}

TEST_CASE("a run of a detector with experts that is ended anywhere goes on to the bits of an unbroken one") {
  const DetectionDataset dataset = rectangles().detection();
  TrainerOptions options = dense_options({});
  options.recompute = true;
  check_resumes(options, [&](const TrainerOptions& own, Index last) { train_dense<TinyDetector>(dataset, own, last); });
}

TEST_CASE("segmenters and detectors learn") {
  const TemporaryFolder folder;
  TrainerOptions options = dense_options(folder / "segmenter");
  options.steps = 120;
  options.evaluate_every = 60;
  options.drop = {};
  options.router = {};
  options.dense.augmentation = {};
  options.dense.backbone_rate = 1;
  const TrainingResult segmented = train_dense<TinySegmenter>(rectangles().segmentation(), options);
  CHECK(segmented.best_accuracy > 0.8);
  options.folder = folder / "detector";
  options.steps = 300;
  const TrainingResult detected = train_dense<TinyDetector>(rectangles().detection(), options);
  CHECK(detected.best_accuracy > 0.3);
  for (const char* name : {"segmenter", "detector"}) {
    INFO(name);
    const TrainingHistory history = read_training_log(folder / name / "log.jsonl");
    CHECK(history.training.back().loss < 0.5 * history.training.front().loss);
    CHECK(history.evaluations.back().accuracy > history.evaluations.front().accuracy - 0.1);
    CHECK(std::isfinite(history.evaluations.back().loss));
  }
}

TEST_CASE("a learning rate of 0 leaves the backbone as it was") {
  const TemporaryFolder folder;
  TrainerOptions options = dense_options(folder / "run");
  options.averaging.reset();
  options.dense.backbone_rate = 0;
  const SegmentationDataset dataset = rectangles().segmentation();
  TinySegmenter net;
  initialise(net.parameters(), {.seed = 3});
  net.set_preprocessing({.height = 16, .width = 16, .channels = 1, .shorter_side = 16});
  const auto before = values_of(net);
  Trainer(net, {dataset, validation_split(dataset)}, options).run();
  Index changed = 0;
  for (const auto& [name, values] : values_of(net)) {
    INFO(name);
    if (TinySegmenter::is_of_backbone(name))
      CHECK(values == before.at(name));
    else
      changed += values != before.at(name);
  }
  CHECK(changed > 20);
  TinyVit vit;
  options.folder = folder / "vit";
  CHECK(contains(error_of([&] { Trainer(vit, {images(), validation_split(images())}, options); }), "has no backbone"));
}

TEST_CASE("training of dense tasks says what does not fit") {
  const TemporaryFolder folder;
  const SegmentationDataset dataset = rectangles().segmentation();
  const auto message_of = [&](auto change) {
    TrainerOptions options = dense_options(folder / "run");
    change(options);
    return error_of([&] { train_dense<TinySegmenter>(dataset, options); });
  };
  CHECK(contains(message_of([](auto& o) { o.mixup = 0.2; }), "are for classifiers"));
  CHECK(contains(message_of([](auto& o) { o.loader.augmentation.shift = 1; }), "that of the option `dense`"));
  CHECK(contains(message_of([](auto& o) { o.dense.segmentation.ignored = 7; }), "masks ignore 255, but the loss 7"));
  CHECK(contains(message_of([](auto& o) { o.dense.backbone_rate = -1; }), "from 0 up"));
  CHECK(contains(error_of([&] {
                   train_dense<TinyDetector>(DetectionDataset(DetectionAnnotations()), dense_options(folder / "none"));
                 }),
                 "no images to learn from"));
  TrainerOptions options = dense_options(folder / "blown");
  options.optimizer.kind = OptimizerKind::sgd;
  options.schedule = {.decay = Decay::none, .peak = 1e38};
  options.clip = 0;
  options.averaging.reset();
  const std::string blown = error_of([&] { train_dense<TinySegmenter>(dataset, options); });
  INFO(blown);
  CHECK(contains(blown, "The first numbers that are not finite: "));
  CHECK(contains(blown, "of step 0"));
}
