/// Accuracy and time of one model under many routing options.
#pragma once

#include "common/any_model.hpp"

#include <moevit/core/executor.hpp>
#include <moevit/core/thread_pool.hpp>
#include <moevit/io/datasets/dataset.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

namespace examples::adaptive {

using moevit::Index;

/// What routes the images of one measurement.
struct Setting {
  std::string study;  ///< of which it is a point: "capacity", "selected", "random"
  double capacity = moevit::unlimited;
  moevit::Priority priority = moevit::Priority::position;
  Index selected = 0;
  std::vector<Index> random = {};  ///< blocks whose router is a random one
};

struct Measurement {
  Setting setting;
  Index images = 0;
  Index correct = 0;
  double seconds_per_image = 0;  ///< of the model, without reading: the fastest of all repetitions of a pass
  double rows_per_image = 0;     ///< that experts computed, over all sparse blocks
  double dropped = 0;            ///< share of the routers' choices

  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(images); }
};

/// How measurements are made.
struct MeasurerOptions {
  Index group = 64;  ///< images that are routed together: one forward pass
  Index threads = 1;
  Index repeats = 1;        ///< passes over each group, for times; the results are the same
  Index most_selected = 4;  ///< largest k
};

/// Holds the images, so that every measurement sees the same ones in the same groups. The last images form a smaller
/// group where they do not fill one.
class Measurer {
 public:
  /// Reads the images `numbers` of a data set, whose labels must be known. Throws moevit::Error as they do.
  Measurer(const AnyModel& model, const moevit::Dataset& dataset, const std::vector<Index>& numbers,
           const MeasurerOptions& options)
      : model_(model),
        options_(options),
        pool_(options.threads),
        values_(static_cast<std::size_t>(moevit::float_count(model.preprocessing()))),
        classes_(static_cast<std::size_t>(model.description().vit.outputs())),
        context_(model.context({.images = options.group, .selected = options.most_selected}, pool_)),
        standard_(context_.routing) {
    pixels_.resize(numbers.size() * values_);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      labels_.push_back(dataset.label(numbers[i]));
      if (labels_.back() < 0) moevit::fail(dataset.name(numbers[i]), ": has no label");
    }
    pool_.run(std::ssize(numbers), [&](Index i, Index) {
      const auto place = static_cast<std::size_t>(i);
      dataset.read(numbers[place], model.preprocessing(), std::span(pixels_).subspan(place * values_, values_));
    });
    outputs_.resize(static_cast<std::size_t>(options.group) * classes_);
  }

  Measurement measure(const Setting& setting) {
    context_.routing = standard_;
    context_.routing.capacity_ratio = setting.capacity;
    context_.routing.priority = setting.priority;
    if (setting.selected) context_.routing.selected = setting.selected;
    Measurement result{.setting = setting};
    if (!setting.random.empty()) context_.routing.random = placement_of(setting.random);
    Index rows = 0, demand = 0, kept = 0;
    for (std::size_t first = 0; first < labels_.size(); first += static_cast<std::size_t>(options_.group)) {
      const std::size_t count = std::min(labels_.size() - first, static_cast<std::size_t>(options_.group));
      result.seconds_per_image += pass(first, count);
      result.correct += count_correct(first, count);
      rows += context_.expert_rows();
      count_choices(demand, kept);
    }
    result.images = std::ssize(labels_);
    const auto images = static_cast<double>(result.images);
    result.seconds_per_image /= images;
    result.rows_per_image = static_cast<double>(rows) / images;
    result.dropped = demand ? 1. - static_cast<double>(kept) / static_cast<double>(demand) : 0.;
    return result;
  }

 private:
  static moevit::Placement placement_of(const std::vector<Index>& blocks) {
    moevit::Placement placement = moevit::blocks({});
    for (const Index block : blocks) {
      placement.listed[static_cast<std::size_t>(block / 64)] |= std::uint64_t{1} << (block % 64);
      ++placement.count;
    }
    return placement;
  }

  /// Seconds of the fastest of all repetitions.
  double pass(std::size_t first, std::size_t count) {
    using Clock = std::chrono::steady_clock;
    double least = std::numeric_limits<double>::infinity();
    for (Index i = 0; i < options_.repeats; ++i) {
      const auto start = Clock::now();
      model_.forward(std::span<const float>(pixels_).subspan(first * values_, count * values_),
                     std::span(outputs_).first(count * classes_), context_);
      least = std::min(least, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return least;
  }

  Index count_correct(std::size_t first, std::size_t count) const {
    Index correct = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const float* logits = outputs_.data() + i * classes_;
      correct += std::max_element(logits, logits + classes_) - logits == labels_[first + i];
    }
    return correct;
  }

  void count_choices(Index& demand, Index& kept) const {
    for (int block = 0; block < context_.depth(); ++block) {
      if (!context_.is_sparse(block)) continue;
      const moevit::SparsePlan& plan = context_.plan(block);
      for (int expert = 0; expert < plan.experts(); ++expert) demand += plan.demand(expert), kept += plan.kept(expert);
    }
  }

  const AnyModel& model_;
  MeasurerOptions options_;
  moevit::ThreadPool pool_;
  std::size_t values_, classes_;
  moevit::Context context_;
  moevit::RoutingOptions standard_;
  std::vector<Index> labels_;
  std::vector<float> pixels_, outputs_;
};

}  // namespace examples::adaptive
