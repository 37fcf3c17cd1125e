/// Tiny models and images for the tests of training runs.
#pragma once

#include <moevit/io/datasets/memory.hpp>
#include <moevit/moevit.hpp>
#include <moevit/train/initialise.hpp>
#include <moevit/train/trainer.hpp>

#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moevit::test {

inline constexpr VitConfig tiny{
    .image = 8, .patch = 4, .channels = 1, .dim = 8, .depth = 2, .heads = 2, .hidden = 16, .classes = 3};
struct TinyVit : Vit<tiny> {};
struct TinyVMoe : VMoe<tiny, MoeConfig{.experts = 4, .selected = 2, .placement = every(2)}> {};
struct TinyMobile : MobileVMoe<tiny, MoeConfig{.experts = 2, .selected = 1, .placement = last(1)}> {};

inline constexpr SwinConfig tiny_swin{
    .image = 8, .patch = 2, .channels = 1, .dim = 8, .depths = {2, 2}, .heads = {1, 2}, .window = 2, .classes = 3};
struct TinySwin
    : Swin<tiny_swin, MoeConfig{.experts = 3, .selected = 2, .placement = every(2), .router = RouterKind::cosine}> {};

/// Classes 0, 1, 2 in turn: a bright stripe at a place of its own, and noise.
inline MemoryDataset striped_images(Index count) {
  std::vector<Image> images;
  std::vector<Index> labels;
  for (Index i = 0; i < count; ++i) {
    RandomStream random(5, i);
    Image image(8, 8, 1);
    for (Index row = 0; row < 8; ++row)
      for (Index col = 0; col < 8; ++col)
        image.row(row)[col] = static_cast<std::uint8_t>(random.below(90) + (row / 3 == i % 3 ? 120 : 0));
    images.push_back(image);
    labels.push_back(i % 3);
  }
  return MemoryDataset(std::move(images), std::move(labels));
}

/// All parameters by name.
template <class Net>
std::map<std::string, std::vector<float>> values_of(const Net& net) {
  std::map<std::string, std::vector<float>> values;
  for (const ConstParameter& parameter : net.parameters()) values[parameter.name] = parameter.values();
  return values;
}

/// All of a file.
inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Every kind of state a run can have: noise, momentum, augmentation, mixup, average.
inline TrainerOptions tiny_options(const std::filesystem::path& folder) {
  TrainerOptions options;
  options.folder = folder;
  options.steps = 24;
  options.seed = 3;
  options.loader.batch = 7;  // 54 images: 7 steps in an epoch
  options.loader.augmentation.shift = 1;
  options.schedule = {.peak = 1e-2, .warmup = 4};
  options.mixup = 0.2;
  options.label_smoothing = 0.1;
  options.router.noise_std = 1;
  options.averaging = AveragingOptions{.decay = 0.9, .warm_up = true};
  options.evaluate_every = 6;
  options.checkpoint_every = 5;
  options.log_every = 4;
  return options;
}

/// Thrown instead of a kill.
struct Killed {};

/// Ends the run behind a step, as a kill would.
struct KillAt : TrainingMonitor {
  explicit KillAt(Index last) : step(last) {}
  void step_done(const StepReport& report) override {
    if (report.step == step) throw Killed{};
  }
  Index step;
};

/// One run, or what is left of one that was ended behind step `last`.
template <class Net>
TrainingResult train(const Dataset& dataset, const TrainerOptions& options, Index last = 0) {
  Net net;
  initialise(net.parameters(), {.seed = options.seed});
  Trainer trainer(net, {dataset, validation_split(dataset)}, options);
  KillAt killer(last);
  return trainer.run(killer);
}

}  // namespace moevit::test
