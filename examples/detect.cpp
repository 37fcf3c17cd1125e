/// Finds objects in images: a page with boxes, and JSON.
#include "common/program.hpp"
#include "dense/dense_run.hpp"
#include "dense/open_dense.hpp"

#include <moevit/io/dense_report.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace examples::dense;

struct Flags {
  DenseFlags dense;
  moevit::DetectionOptions decoding{.least_score = 0.3};
};

constexpr const char* description =
    "Finds objects in images with a model of train_downstream (bccd, nuclei-boxes), whose type is found from the "
    "file.\n"
    "Each image gets a line: file and how many objects of which class. The folder gets report.html (images with "
    "boxes), "
    "results.json\n"
    "(boxes as [x, y, width, height] in pixels of the image, classes, scores, best first) and, where asked, "
    "routing.html.\n"
    "Images are resized as in training, whole. Images that cannot be read are reported on standard error, the others "
    "are looked\n"
    "at all the same, and the exit code is 1.";

void add_options(CLI::App& app, Flags& flags) {
  flags.dense.title = "Detections";
  flags.dense.add_to(app, "detector");
  app.add_option("--least-score", flags.decoding.least_score, "Objects need a higher score")
      ->capture_default_str()
      ->check(CLI::Range(0., 0.999));
  app.add_option("--overlap", flags.decoding.suppression.iou,
                 "Of two objects of a class whose boxes overlap by more (intersection over union), the better one "
                 "is kept")
      ->capture_default_str()
      ->check(CLI::Range(0., 1.));
  app.add_option("--most", flags.decoding.suppression.most, "Objects per image at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
}

/// "\t12 RBC\t1 WBC"
std::string line_of(const std::vector<moevit::Detection>& detections, const std::vector<std::string>& names) {
  std::map<std::int32_t, Index> counts;
  for (const moevit::Detection& detection : detections) ++counts[detection.category];
  if (counts.empty()) return "\tnothing";
  std::string line;
  for (const auto& [category, count] : counts)
    line += "\t" + std::to_string(count) + " " + names.at(static_cast<std::size_t>(category));
  return line;
}

/// The image as the page shows it, with its boxes.
moevit::DetectedImage shown(const SeenImage& image, std::vector<moevit::Detection> detections) {
  const double scale = page_scale(image.original);
  for (auto& [box, category, score] : detections)
    box = {scale * box.x, scale * box.y, scale * box.width, scale * box.height};
  return {image.name, page_picture(image.original), std::move(detections)};
}

int detect(const Flags& flags) {
  const auto model = open_detector(flags.dense.weights);
  model->pack(flags.dense.precision);
  DenseRun run(flags.dense, *model, "detect");
  moevit::DetectionReport report{.title = flags.dense.title, .class_names = model->class_names()};
  run.run("detecting", [&](const SeenImage& image, moevit::Context& context) {
    auto detections = model->detect(image.values, image.seen, context, flags.decoding);
    for (moevit::Detection& detection : detections) detection.box = image.original_box(detection.box);
    ImageResult result{moevit::detections_as_json(image.name, detections, report.class_names),
                       line_of(detections, report.class_names)};
    if (run.shows_next()) report.images.push_back(shown(image, std::move(detections)));
    return result;
  });
  moevit::write_detection_report(run.folder().path("report.html"), report);
  return run.finish();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "detect");
  Flags flags;
  add_options(app, flags);
  return examples::run_program(app, argc, argv, [&] { return detect(flags); });
}
