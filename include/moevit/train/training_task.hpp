/// What Trainer has to know of a task: its data, loaders, passes and options.
#pragma once

#include <moevit/train/training_data.hpp>
#include <moevit/train/training_pass.hpp>

namespace moevit {

/// The task of a type of model: classification. Segmenters and detectors have theirs in train/dense_training.hpp.
template <class Net>
struct TrainingTask {
  static_assert(
      requires { Net::outputs_per_image; },
      "Trainer: expected a classifier; for segmenters and detectors include <moevit/train/dense_training.hpp>");
  using Data = Dataset;
  using LoaderType = Loader;
  using Pass = TrainingPass<Net>;

  /// Throws Error when model, data and options do not fit together.
  static void check(const Net& net, const TrainingData& data, const TrainerOptions&) {
    check_training_data(data, Net::config.outputs());
    const Preprocessing& preprocessing = net.preprocessing();
    if (preprocessing.height != Net::config.height() || preprocessing.width != Net::config.width() ||
        preprocessing.channels != Net::config.channels)
      fail("training: the model takes images of ", Net::config.height(), " x ", Net::config.width(), " x ",
           Net::config.channels, ", but its preprocessing makes others");
  }
  static const LoaderOptions& loader_options(const TrainerOptions& options) { return options.loader; }
  /// Adds what a run depends on and all tasks do not have.
  static void add_to(Fingerprint&, const TrainingData&, const TrainerOptions&) {}
};

}  // namespace moevit
