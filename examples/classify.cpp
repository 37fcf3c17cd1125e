/// Classifies image files, folders and data sets, and says which experts did it.
#include "common/open_model.hpp"
#include "common/precision_flag.hpp"
#include "common/predictions.hpp"
#include "common/program.hpp"
#include "common/run.hpp"

#include <moevit/io/image.hpp>

#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

namespace {

using moevit::Index;

struct Flags {
  std::string weights;
  std::vector<std::string> inputs;
  std::string split;
  Index top = 1;
  Index limit = -1;
  bool json = false;
  bool summary = false;
  examples::Precision precision = examples::Precision::float32;
  examples::RunFlags run;
};

constexpr const char* description =
    "Classifies images with a ViT, V-MoE or Mobile V-MoE.\n"
    "Each image gets a line: file, class, probability, experts. 'experts' are those that computed any of the image's "
    "tokens in\n"
    "the last sparse block, most tokens first, as expert:tokens; for Mobile V-MoE they are the experts chosen for the "
    "image,\n"
    "best first. Images that cannot be read are reported on standard error, the others are classified all the same, "
    "and the\n"
    "exit code is 1.";

void add_options(CLI::App& app, Flags& flags) {
  app.add_option("--weights,-w", flags.weights, "Weights (safetensors) of one of the compiled models")->required();
  app.add_option(
         "images", flags.inputs,
         "Image files (JPEG, PNG, PPM), folders of images, or data sets: IDX, CIFAR binary, one folder per class")
      ->required();
  app.add_option("--split", flags.split, "Part of a data set that has several: train, t10k, test, ...");
  app.add_option("--top", flags.top, "Classes named per image")->capture_default_str()->check(CLI::Range(1, 100000));
  app.add_option("--limit", flags.limit, "Only the first images")->check(CLI::NonNegativeNumber);
  app.add_flag("--summary", flags.summary, "Leave the single images out, print the last lines only");
  app.add_flag(
      "--json", flags.json,
      "One JSON object: images, top1_correct and accuracy (null without labels), images_per_second (reading and "
      "model), model_images_per_second, predictions [file, class, name, probability, experts, expert_tokens, label, "
      "top], build");
  examples::add_precision_option(app, flags.precision);
  flags.run.add_to(app);
}

/// Counts what came out and writes it, one image after the other.
class Report {
 public:
  Report(const Flags& flags, const examples::ImageList& images, const examples::Classes& classes)
      : flags_(flags), images_(images), classes_(classes) {}

  void add(const examples::Pass& pass, Index rows_per_image) {
    const auto experts = examples::experts_of_images(pass.context, pass.images.size());
    const std::size_t values = pass.outputs.size() / pass.images.size();
    for (std::size_t i = 0; i < pass.images.size(); ++i) {
      const auto likely = examples::most_likely(pass.outputs.subspan(i * values, values), rows_per_image, flags_.top);
      const Index label = images_.label(pass.images[i]);
      if (label >= 0) ++labelled_;
      if (label == likely.front().number) ++correct_;
      if (flags_.json && !flags_.summary) predictions_.push_back(as_json(pass.images[i], likely, experts[i], label));
      if (!flags_.json && !flags_.summary) print_line(pass.images[i], likely, experts[i], label);
    }
  }

  void finish(const examples::Timing& timing) const {
    if (flags_.json)
      print_json(timing);
    else
      print_summary(timing);
  }

 private:
  using Likely = std::vector<examples::ClassProbability>;
  using Experts = std::vector<examples::ExpertShare>;

  nlohmann::ordered_json as_json(Index image, const Likely& likely, const Experts& experts, Index label) const {
    nlohmann::ordered_json json{{"file", images_.name(image)},
                                {"class", likely.front().number},
                                {"name", classes_.name(likely.front().number)},
                                {"probability", likely.front().probability},
                                {"experts", nlohmann::json::array()},
                                {"expert_tokens", nlohmann::json::array()}};
    for (const auto& share : experts) {
      json["experts"].push_back(share.expert);
      json["expert_tokens"].push_back(share.tokens);
    }
    if (label >= 0) json["label"] = label;
    if (flags_.top > 1)
      for (const auto& [number, probability] : likely)
        json["top"].push_back({{"class", number}, {"name", classes_.name(number)}, {"probability", probability}});
    return json;
  }

  void print_line(Index image, const Likely& likely, const Experts& experts, Index label) const {
    std::cout << images_.name(image);
    for (const auto& [number, probability] : likely) {
      char percent[16];
      std::snprintf(percent, sizeof percent, "%.1f%%", 100 * probability);
      std::cout << '\t' << classes_.name(number) << ' ' << percent;
    }
    if (label >= 0) std::cout << (label == likely.front().number ? "\tcorrect" : "\twrong: " + classes_.name(label));
    if (!experts.empty()) std::cout << "\texperts";
    for (const auto& [expert, tokens] : experts) std::cout << ' ' << expert << ':' << tokens;
    std::cout << '\n';
  }

  void print_json(const examples::Timing& timing) const {
    nlohmann::ordered_json json{{"images", timing.images}, {"top1_correct", nullptr}, {"accuracy", nullptr}};
    if (labelled_ > 0) {
      json["top1_correct"] = correct_;
      json["accuracy"] = static_cast<double>(correct_) / static_cast<double>(labelled_);
    }
    json["images_per_second"] = timing.images_per_second();
    json["model_images_per_second"] = timing.model_images_per_second();
    json["predictions"] = predictions_;
    json["build"] = moevit::build_info();
    // File names need not be UTF-8; what is not becomes U+FFFD.
    std::cout << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  }

  void print_summary(const examples::Timing& timing) const {
    std::printf("%td images", timing.images);
    if (labelled_ > 0)
      std::printf(", %td of %td correct (%.2f%%)", correct_, labelled_,
                  100 * static_cast<double>(correct_) / static_cast<double>(labelled_));
    std::printf("\n%.0f images/s with reading, %.0f images/s in the model, %td threads\n%s\n",
                timing.images_per_second(), timing.model_images_per_second(), flags_.run.threads,
                moevit::build_info().c_str());
  }

  const Flags& flags_;
  const examples::ImageList& images_;
  const examples::Classes& classes_;
  Index labelled_ = 0;
  Index correct_ = 0;
  nlohmann::ordered_json predictions_ = nlohmann::json::array();
};

int classify(const Flags& flags) {
  examples::Problems problems("classify");
  const auto model = examples::open_model(flags.weights);
  model->pack(flags.precision);
  const examples::Classes classes{model->description().vit.outputs(), model->class_names()};
  examples::ImageList images(flags.inputs, flags.split, classes, problems);
  if (flags.limit >= 0) images = images.first(flags.limit);
  Report report(flags, images, classes);
  examples::Runner runner(*model, flags.run, images.size());
  report.finish(runner.run(images, problems, "classifying",
                           [&](const examples::Pass& pass) { report.add(pass, model->outputs_per_image()); }));
  return problems.any() ? examples::failure : examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "classify");
  Flags flags;
  add_options(app, flags);
  return examples::run_program(app, argc, argv, [&] { return classify(flags); });
}
