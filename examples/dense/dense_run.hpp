/// Takes images through a segmenter or detector, one after the other, and collects what both programs write.
#pragma once

#include "common/program.hpp"
#include "common/progress.hpp"
#include "dense/dense_model.hpp"
#include "dense/page_pictures.hpp"
#include "dense/result_folder.hpp"
#include "dense/seen_image.hpp"

#include <moevit/io/dense_json.hpp>
#include <moevit/io/region_report.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace examples::dense {

using Json = nlohmann::ordered_json;

/// What became of one image.
struct ImageResult {
  Json json;
  std::string line;  ///< for people, without the name
};

class DenseRun {
 public:
  /// Throws moevit::Error when the flags make no sense for the model, or the folder cannot be written.
  DenseRun(const DenseFlags& flags, const DenseModel& model, const std::string& program)
      : flags_(checked(flags, model)),
        model_(model),
        problems_(program),
        images_(flags.inputs, flags.split, problems_),
        folder_(flags.output),
        context_(model.context({.images = 1, .threads = flags.threads},
                               {model.preprocessing().height, model.preprocessing().width})) {
    if (flags.limit >= 0) images_ = images_.first(flags.limit);
    for (const moevit::RegionBlock& block : model.sparse_blocks())
      regions_.totals.push_back({block, std::vector<Index>(static_cast<std::size_t>(block.experts) + 1)});
  }

  ResultFolder& folder() { return folder_; }
  /// Whether pages show the image that comes next.
  bool shows_next() const { return std::ssize(results_) < flags_.pictures; }

  /// Calls use(const SeenImage&, moevit::Context&), which returns an ImageResult, for every image. Images that cannot
  /// be read or used are problems and left out.
  template <class Use>
  void run(const std::string& what, Use use) {
    const auto start = std::chrono::steady_clock::now();
    Progress progress(what, images_.size());
    for (Index number = 0; number < images_.size(); ++number) {
      std::string name;  // until messages name the image themselves
      try {
        const SeenImage image = see_image(images_, number, model_.preprocessing(), flags_);
        name = image.name + ": ";
        const bool is_shown = shows_next();
        ImageResult result = use(image, context_);
        progress.clear();
        std::cout << image.name << result.line << '\n';
        if (flags_.routing) add_routing(image, is_shown);
        result.json["seen"] = {{"height", image.seen.height}, {"width", image.seen.width}};
        results_.push_back(std::move(result.json));
      } catch (const moevit::Error& error) {
        progress.clear();
        problems_.report(name + error.what());
      }
      progress.advance(1);
    }
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  /// Writes results.json and routing.html, says what there is, and returns the program's exit code.
  int finish() {
    Json json{{"weights", flags_.weights}, {"images", results_}, {"build", moevit::build_info()}};
    moevit::write_file(folder_.path("results.json"), moevit::json_text(json) + "\n");
    const auto count = std::ssize(results_);
    std::printf("%td images, %.1f images/s with reading and writing, %td threads\n", count,
                seconds_ > 0 ? static_cast<double>(count) / seconds_ : 0., flags_.threads);
    std::cout << folder_.path("report.html").string() << '\n' << folder_.path("results.json").string() << '\n';
    if (flags_.routing) {
      write_routing();
      std::cout << folder_.path("routing.html").string() << '\n';
    }
    return problems_.any() ? failure : success;
  }

 private:
  static const DenseFlags& checked(const DenseFlags& flags, const DenseModel& model) {
    if (flags.routing && model.sparse_blocks().empty())
      moevit::fail(flags.weights, ": has no sparse block: there is no routing to show");
    return flags;
  }

  void add_routing(const SeenImage& image, bool is_shown) {
    auto blocks = model_.regions(context_, image.seen);
    moevit::add_regions(blocks, regions_.totals);
    if (is_shown) regions_.images.push_back({image.name, page_picture(image.original), image.seen, std::move(blocks)});
  }

  void write_routing() {
    const moevit::RoutingOptions& options = context_.routing;
    regions_.title = flags_.title + ": routing";
    regions_.lead = moevit::report::join(std::ssize(results_), " images; ", options.selected, " of ",
                                         regions_.totals.front().where.experts, " experts per place, in ",
                                         regions_.totals.size(), " sparse blocks.");
    regions_.footer = "Written by " + moevit::build_info();
    moevit::write_region_report(folder_.path("routing.html"), regions_);
  }

  const DenseFlags& flags_;
  const DenseModel& model_;
  Problems problems_;
  ImageList images_;
  ResultFolder folder_;
  moevit::Context context_;
  std::vector<Json> results_;
  moevit::RegionReport regions_;
  double seconds_ = 0;
};

}  // namespace examples::dense
