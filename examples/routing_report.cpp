/// Writes one HTML file that shows how a V-MoE or Mobile V-MoE routes a data set.
#include "common/open_model.hpp"
#include "common/predictions.hpp"
#include "common/program.hpp"
#include "common/report_images.hpp"
#include "common/run.hpp"

#include <moevit/io/routing_report.hpp>
#include <moevit/models/counts.hpp>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using moevit::Index;
using moevit::Priority;
namespace report = moevit::report;

struct Flags {
  std::string weights;
  std::vector<std::string> inputs;
  std::string split;
  std::string output = "routing_report.html";
  std::string title = "Routing report";
  Index limit = -1;
  Index pictures = 12;
  Index curve_images = 2000;
  std::vector<double> ratios{0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.05};
  examples::RunFlags run{.batch = 64, .capacity = 1.0, .priority = Priority::max_gate, .group = 8};
};

constexpr const char* description =
    "Writes one self-contained HTML file: images with their patches coloured by expert and the dropped ones blanked, "
    "the load of\n"
    "the experts before and after capacity, classes and experts, gate distributions, accuracy against capacity for "
    "batch\n"
    "priority and vanilla, and, for Mobile V-MoE, images by expert. Unless told otherwise it shows capacity ratio 1, "
    "batch\n"
    "priority, groups of 8 images.";

void add_options(CLI::App& app, Flags& flags) {
  app.add_option("--weights,-w", flags.weights,
                 "Weights (safetensors) of one of the compiled models with sparse blocks")
      ->required();
  app.add_option("images", flags.inputs, "Images as for classify; class maps and accuracies need labels")->required();
  app.add_option("--split", flags.split, "Part of a data set that has several: train, t10k, test, ...");
  app.add_option("--output,-o", flags.output, "File to write")->capture_default_str();
  app.add_option("--title", flags.title, "Title of the page")->capture_default_str();
  app.add_option("--limit", flags.limit, "Only the first images")->check(CLI::NonNegativeNumber);
  app.add_option("--pictures", flags.pictures, "Images shown, evenly over the classes")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  app.add_option("--curve-images", flags.curve_images, "First images used for accuracy against capacity, 0: no curve")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--ratios", flags.ratios, "Capacity ratios of the curve")
      ->capture_default_str()
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  flags.run.add_to(app);
}

/// Runs the model as often as the report needs, and fills it.
class Reporter {
 public:
  Reporter(const Flags& flags, const examples::AnyModel& model, const examples::ImageList& images,
           const examples::Classes& classes, examples::Problems& problems)
      : flags_(flags),
        model_(model),
        images_(images),
        classes_(classes),
        problems_(problems),
        vit_(model.description().vit),
        runner_(model, flags.run, images.size()),
        curve_images_(images.first(flags.curve_images)),
        shown_(flags.curve_images ? curve_images_ : images, flags.pictures, classes.count) {
    std::copy_if(flags.ratios.begin(), flags.ratios.end(), std::back_inserter(picture_ratios_),
                 [](double ratio) { return ratio < 0.75; });
    std::sort(picture_ratios_.begin(), picture_ratios_.end());
    picture_ratios_.resize(std::min<std::size_t>(picture_ratios_.size(), 4));  // more have no room on a page
  }

  moevit::RoutingReport fill() {
    report_.title = flags_.title;
    report_.model = model_.description();
    for (Index i = 0; i < classes_.count; ++i) report_.class_names.push_back(classes_.name(i));
    report_.classes_are_predicted = !images_.has_labels();
    gather();
    if (can_drop() && flags_.curve_images > 0) measure_capacity();
    report_.images = shown_.take();
    report_.footer = "Written by routing_report of " + moevit::build_info();
    return std::move(report_);
  }

 private:
  struct Score {
    Index correct = 0, labelled = 0, choices = 0, kept = 0;
    double accuracy() const { return labelled ? static_cast<double>(correct) / static_cast<double>(labelled) : 0.0; }
    double dropped() const { return choices ? 1.0 - static_cast<double>(kept) / static_cast<double>(choices) : 0.0; }
  };

  /// A router for whole images drops nothing, whatever the capacity.
  bool can_drop() const { return !report_.routers.front().per_image && images_.has_labels(); }

  std::vector<Index> predictions(const examples::Pass& pass) const {
    const std::size_t values = pass.outputs.size() / pass.images.size();
    std::vector<Index> result;
    for (std::size_t i = 0; i < pass.images.size(); ++i)
      result.push_back(examples::most_likely(pass.outputs.subspan(i * values, values), model_.outputs_per_image(), 1)
                           .front()
                           .number);
    return result;
  }

  void add_score(const examples::Pass& pass, const std::vector<Index>& predicted, Score& score) const {
    for (std::size_t i = 0; i < predicted.size(); ++i) {
      const Index label = images_.label(pass.images[i]);
      score.labelled += label >= 0;
      score.correct += label == predicted[i];
    }
    for (int block = 0; block < pass.context.depth(); ++block) {
      if (!pass.context.is_sparse(block)) continue;
      score.choices += std::ssize(pass.context.plan(block).choices());
      score.kept += pass.context.plan(block).rows();
    }
  }

  /// All images once, at the capacity asked for: statistics, accuracy and the images to be shown.
  void gather() {
    report::RoutingStatistics statistics(model_.description(), classes_.count);
    Score score;
    const examples::Timing timing = runner_.run(images_, problems_, "routing", [&](const examples::Pass& pass) {
      const std::vector<Index> predicted = predictions(pass);
      add_score(pass, predicted, score);
      std::vector<Index> classes = predicted;
      if (images_.has_labels())
        for (std::size_t i = 0; i < classes.size(); ++i) classes[i] = images_.label(pass.images[i]);
      statistics.add(pass.context, classes);
      for (std::size_t i = 0; i < predicted.size(); ++i)
        shown_.see(pass, i, caption(pass.images[i], predicted[i]), is_right(pass.images[i], predicted[i]), model_);
    });
    report_.routers.assign(statistics.routers().begin(), statistics.routers().end());
    if (report_.routers.empty())
      moevit::fail(flags_.weights, ": has no sparse block, or there was no image: nothing to report");
    add_facts(timing, score);
  }

  bool is_right(Index image, Index predicted) const {
    return images_.label(image) < 0 || images_.label(image) == predicted;
  }
  std::string caption(Index image, Index predicted) const {
    const Index label = images_.label(image);
    if (label < 0) return classes_.name(predicted);
    return classes_.name(label) + (label == predicted ? "" : ", taken for " + classes_.name(predicted));
  }

  void add_facts(const examples::Timing& timing, const Score& score) {
    const moevit::ModelDescription& model = report_.model;
    const auto count = [](Index value) { return report::grouped(value); };
    report_.facts = {{count(timing.images), "images"}};
    if (score.labelled)
      report_.facts.push_back({report::percent(score.accuracy(), 2),
                               report_.routers.front().per_image ? "correct" : "correct at this capacity"});
    if (!report_.routers.front().per_image)
      report_.facts.push_back({report::percent(score.dropped()), "of the choices dropped"});
    report_.facts.push_back({count(moevit::parameter_count(model)), "parameters"});
    report_.facts.push_back({count(moevit::active_parameters(model)),
                             report_.routers.front().per_image ? "used by an image" : "used by a token"});
    report_.facts.push_back({report::number(moevit::multiply_adds(model) / 1e6, 2) + " M", "multiply-adds per image"});
    report_.lead = std::string(model.family == moevit::ModelFamily::mobile_vmoe ? "Mobile V-MoE" : "V-MoE") + " with " +
                   count(model.moe.experts) + " experts, " +
                   count(flags_.run.selected ? flags_.run.selected : model.moe.selected) +
                   (report_.routers.front().per_image ? " per image, in " : " per token, in ");
    for (std::size_t i = 0; i < report_.routers.size(); ++i)
      report_.lead += (i ? ", " : "") + report_.routers[i].name();
    report_.lead += " of " + count(model.vit.depth) + " (counted from 0). ";
    if (!report_.routers.front().per_image)
      report_.lead += "Capacity ratio " + report::number(flags_.run.capacity, 3) + ", " +
                      priority_name(flags_.run.priority) + ", groups of " +
                      (flags_.run.group ? count(flags_.run.group) + " images." : "a whole batch.");
  }

  static std::string priority_name(Priority priority) {
    return priority == Priority::position   ? "vanilla order"
           : priority == Priority::max_gate ? "batch priority by the largest gate"
                                            : "batch priority by the sum of gates";
  }

  Score score_at(double ratio, Priority priority) {
    runner_.routing().capacity_ratio = ratio;
    runner_.routing().priority = priority;
    Score score;
    const std::string setting =
        report::number(ratio, 3) + (priority == Priority::position ? ", vanilla" : ", priority");
    const bool shows_dropped =
        std::find(picture_ratios_.begin(), picture_ratios_.end(), ratio) != picture_ratios_.end();
    runner_.run(curve_images_, problems_, "capacity " + report::number(ratio, 3), [&](const examples::Pass& pass) {
      add_score(pass, predictions(pass), score);
      if (shows_dropped) shown_.see_dropped(pass, setting, report_.routers.back().blocks.back(), vit_);
    });
    return score;
  }

  void measure_capacity() {
    std::vector<double> ratios = flags_.ratios;
    std::sort(ratios.begin(), ratios.end());
    for (const double ratio : ratios) {
      const Score vanilla = score_at(ratio, Priority::position), priority = score_at(ratio, Priority::max_gate);
      report_.capacity.push_back(
          {ratio, vanilla.accuracy(), priority.accuracy(), vanilla.dropped(), priority.dropped()});
    }
    report_.unlimited_accuracy = score_at(moevit::unlimited, Priority::position).accuracy();
    report_.capacity_setting =
        "Measured on the first " + report::grouped(curve_images_.size()) + " images" +
        (flags_.run.group ? " in groups of " + report::grouped(flags_.run.group) + "." : ", every batch a group.");
  }

  const Flags& flags_;
  const examples::AnyModel& model_;
  const examples::ImageList& images_;
  const examples::Classes& classes_;
  examples::Problems& problems_;
  moevit::VitConfig vit_;
  examples::Runner runner_;
  examples::ImageList curve_images_;
  examples::ReportImages shown_;
  std::vector<double> picture_ratios_;
  moevit::RoutingReport report_;
};

int write_report(const Flags& flags) {
  examples::Problems problems("routing_report");
  const auto model = examples::open_model(flags.weights);
  const examples::Classes classes{model->description().vit.outputs(), model->class_names()};
  examples::ImageList images(flags.inputs, flags.split, classes, problems);
  if (flags.limit >= 0) images = images.first(flags.limit);
  moevit::write_routing_report(flags.output, Reporter(flags, *model, images, classes, problems).fill());
  std::cout << flags.output << '\n';
  return problems.any() ? examples::failure : examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "routing_report");
  Flags flags;
  add_options(app, flags);
  return examples::run_program(app, argc, argv, [&] { return write_report(flags); });
}
