/// Takes a list of images through a model, batch by batch, and times it.
#pragma once

#include "any_model.hpp"
#include "image_list.hpp"
#include "progress.hpp"
#include "routing_flags.hpp"

#include <chrono>
#include <span>
#include <string>
#include <vector>

namespace examples {

/// One forward pass, seen right after it.
struct Pass {
  std::span<const moevit::Index> images;  // numbers in the list, in order
  std::span<const float> pixels;          // what the model read
  std::span<const float> outputs;         // images x outputs_per_image x classes
  const moevit::Context& context;         // plans of this pass
};

struct Timing {
  moevit::Index images = 0;
  double seconds = 0;        // reading, preprocessing and the model
  double model_seconds = 0;  // the model alone

  double images_per_second() const { return seconds > 0 ? static_cast<double>(images) / seconds : 0.0; }
  double model_images_per_second() const {
    return model_seconds > 0 ? static_cast<double>(images) / model_seconds : 0.0;
  }
};

/// Reads and classifies; one run at a time.
class Runner {
  using Clock = std::chrono::steady_clock;

 public:
  /// For lists of up to `most_images`. Throws moevit::Error when the flags make no sense for the model.
  Runner(const AnyModel& model, const RunFlags& flags, moevit::Index most_images)
      : model_(model),
        flags_(flags),
        images_per_pass_(std::clamp<moevit::Index>(most_images, 1, flags.images_per_pass())),
        pool_(flags.threads),
        image_values_(static_cast<std::size_t>(moevit::float_count(model.preprocessing()))),
        output_values_(static_cast<std::size_t>(model.outputs_per_image() * model.description().vit.outputs())),
        context_(model.context({.images = images_per_pass_, .selected = flags.selected}, pool_)) {
    flags.apply(context_.routing);
    const auto most = static_cast<std::size_t>(images_per_pass_);
    pixels_.resize(most * image_values_);
    outputs_.resize(most * output_values_);
  }

  /// Options of the next run.
  moevit::RoutingOptions& routing() { return context_.routing; }

  /// Calls seen(Pass) after every forward pass. Images that cannot be read are problems and left out.
  template <class Seen>
  Timing run(const ImageList& list, Problems& problems, const std::string& what, Seen seen) {
    Progress progress(what, list.size());
    Timing timing;
    for (moevit::Index first = 0; first < list.size(); first += images_per_pass_) {
      const auto start = Clock::now();
      const moevit::Index count = std::min(images_per_pass_, list.size() - first);
      read(list, first, count, problems, progress);
      timing.seconds += seconds_since(start);
      const auto readable = static_cast<moevit::Index>(numbers_.size());
      const moevit::Index in_groups = flags_.group ? readable / flags_.group * flags_.group : readable;
      pass(0, in_groups, flags_.group, timing, seen);
      pass(in_groups, readable - in_groups, 0, timing, seen);
      progress.advance(count);
    }
    return timing;
  }

 private:
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  // Threads read side by side, each image to its place; then the readable ones move together.
  void read(const ImageList& list, moevit::Index first, moevit::Index count, Problems& problems, Progress& progress) {
    errors_.assign(static_cast<std::size_t>(count), {});
    pool_.run(count, [&](moevit::Index i, moevit::Index) {
      try {
        list.read(first + i, model_.preprocessing(), place(i));
      } catch (const moevit::Error& error) {
        errors_[static_cast<std::size_t>(i)] = error.what();
      }
    });
    numbers_.clear();
    for (moevit::Index i = 0; i < count; ++i) {
      if (const std::string& error = errors_[static_cast<std::size_t>(i)]; !error.empty()) {
        progress.clear();
        problems.report(error);
        continue;
      }
      const auto from = place(i), to = place(std::ssize(numbers_));
      if (from.data() != to.data()) std::copy(from.begin(), from.end(), to.begin());
      numbers_.push_back(first + i);
    }
  }

  template <class Seen>
  void pass(moevit::Index first, moevit::Index count, moevit::Index group, Timing& timing, Seen& seen) {
    if (count == 0) return;
    const auto offset = static_cast<std::size_t>(first), size = static_cast<std::size_t>(count);
    const auto pixels = std::span<const float>(pixels_).subspan(offset * image_values_, size * image_values_);
    const auto outputs = std::span(outputs_).subspan(offset * output_values_, size * output_values_);
    context_.routing.group_images = group ? group : default_group_;
    const auto start = Clock::now();
    model_.forward(pixels, outputs, context_);
    const double seconds = seconds_since(start);
    timing.images += count;
    timing.seconds += seconds;
    timing.model_seconds += seconds;
    seen(Pass{std::span(numbers_).subspan(offset, size), pixels, outputs, context_});
  }

  std::span<float> place(moevit::Index i) {
    return std::span(pixels_).subspan(static_cast<std::size_t>(i) * image_values_, image_values_);
  }

  const AnyModel& model_;
  RunFlags flags_;
  moevit::Index images_per_pass_;
  moevit::ThreadPool pool_;
  std::size_t image_values_, output_values_;
  moevit::Context context_;
  moevit::Index default_group_ = context_.routing.group_images;  // 1 for routers that take every image for itself
  std::vector<float> pixels_, outputs_;
  std::vector<std::string> errors_;
  std::vector<moevit::Index> numbers_;
};

}  // namespace examples
