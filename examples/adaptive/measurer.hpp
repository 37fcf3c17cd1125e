/// Accuracy and time of one model under many routing options.
#pragma once

#include "common/any_model.hpp"

#include <moevit/core/executor.hpp>
#include <moevit/core/thread_pool.hpp>
#include <moevit/io/datasets/dataset.hpp>
#include <moevit/train/accuracy.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <span>
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
  double seconds_per_image = 0;  ///< of the model, without reading
  double rows_per_image = 0;     ///< that experts computed, over all sparse blocks
  double dropped = 0;            ///< share of the routers' choices

  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(images); }
};

/// How measurements are made.
struct MeasurerOptions {
  Index group = 64;  ///< images that are routed together: one forward pass
  Index threads = 1;
  Index timed_groups = 4;   ///< groups that are timed, from the first on
  Index repeats = 5;        ///< of their passes, the fastest of which counts
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
      labels_.push_back(static_cast<std::int32_t>(dataset.label(numbers[i])));
      if (labels_.back() < 0) moevit::fail(dataset.name(numbers[i]), ": has no label");
    }
    pool_.run(std::ssize(numbers), [&](Index i, Index) {
      const auto place = static_cast<std::size_t>(i);
      dataset.read(numbers[place], model.preprocessing(), std::span(pixels_).subspan(place * values_, values_));
    });
    outputs_.resize(static_cast<std::size_t>(options.group) * classes_);
  }

  /// Everything but the time.
  Measurement measure(const Setting& setting) {
    apply(setting);
    Measurement result{.setting = setting, .images = std::ssize(labels_)};
    Index rows = 0, demand = 0, kept = 0;
    for (Index group = 0; group < groups(); ++group) {
      forward(group);
      result.correct += count_correct(group);
      rows += context_.expert_rows();
      count_choices(demand, kept);
    }
    result.rows_per_image = static_cast<double>(rows) / static_cast<double>(result.images);
    result.dropped = demand ? 1. - static_cast<double>(kept) / static_cast<double>(demand) : 0.;
    return result;
  }

  /// Times of all measurements, in turn and again, so that a machine that is slow for a while is slow for all of them.
  void measure_times(std::vector<Measurement>& measurements) {
    const Index timed = std::min(options_.timed_groups, groups());
    std::vector<double> least(measurements.size() * static_cast<std::size_t>(timed),
                              std::numeric_limits<double>::infinity());
    for (Index repeat = 0; repeat < options_.repeats; ++repeat)
      for (std::size_t i = 0; i < measurements.size(); ++i) {
        apply(measurements[i].setting);
        for (Index group = 0; group < timed; ++group) {
          double& time = least[i * static_cast<std::size_t>(timed) + static_cast<std::size_t>(group)];
          time = std::min(time, seconds_of(group));
        }
      }
    const Index images = std::min(timed * options_.group, static_cast<Index>(labels_.size()));
    for (std::size_t i = 0; i < least.size(); ++i)
      measurements[i / static_cast<std::size_t>(timed)].seconds_per_image += least[i] / static_cast<double>(images);
  }

 private:
  void apply(const Setting& setting) {
    context_.routing = standard_;
    context_.routing.capacity_ratio = setting.capacity;
    context_.routing.priority = setting.priority;
    context_.routing.selected = setting.selected;
    if (!setting.random.empty()) context_.routing.random = moevit::blocks(setting.random);
  }

  Index groups() const { return moevit::ceil_div(static_cast<Index>(labels_.size()), options_.group); }
  std::size_t first_of(Index group) const { return static_cast<std::size_t>(group * options_.group); }
  std::size_t size_of(Index group) const {
    return std::min(labels_.size() - first_of(group), static_cast<std::size_t>(options_.group));
  }

  void forward(Index group) {
    model_.forward(std::span<const float>(pixels_).subspan(first_of(group) * values_, size_of(group) * values_),
                   std::span(outputs_).first(size_of(group) * classes_), context_);
  }

  double seconds_of(Index group) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    forward(group);
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  Index count_correct(Index group) const {
    const std::size_t count = size_of(group);
    return moevit::count_correct({outputs_.data(), static_cast<Index>(count), static_cast<Index>(classes_)},
                                 std::span(labels_).subspan(first_of(group), count));
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
  std::vector<std::int32_t> labels_;
  std::vector<float> pixels_, outputs_;
};

}  // namespace examples::adaptive
