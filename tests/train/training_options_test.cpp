// Options of training runs: each changes what is learnt, is in the fingerprint, and leaves a run that can be resumed.
#include "train/resumed_runs.hpp"

#include <moevit/moe/residual_expert_bank.hpp>
#include <moevit/train/mixup.hpp>

#include <algorithm>
#include <cmath>
#include <functional>

using namespace moevit;
using namespace moevit::test;

namespace {

struct TinyResidual : Vit<tiny, SparseMlp<TopKRouter<8, 4>, ResidualExpertBank<Mlp<8, 16>, 2>,
                                          MoeConfig{.experts = 4, .placement = every(2), .scale_by_gate = false}>> {};

/// The last line of the log after a run.
template <class Net>
TrainingEntry last_entry(const TrainerOptions& options) {
  train<Net>(images(), options);
  return read_training_log(options.folder / "log.jsonl").training.back();
}

/// Whether a change of options is seen in an entry of the fingerprint, so that other runs are not gone on with.
void check_in_fingerprint(const std::string& entry, const std::function<void(TrainerOptions&)>& change) {
  INFO(entry);
  TrainerOptions options = tiny_options("run"), other = options;
  change(other);
  const Fingerprint before = fingerprint(options), after = fingerprint(other);
  REQUIRE(before.contains(entry));
  CHECK(before.at(entry) != after.at(entry));
}

}  // namespace

TEST_CASE("Adafactor trains, and a run with it goes on to the same bits") {
  TrainerOptions options = tiny_options({});
  options.optimizer = {.kind = OptimizerKind::adafactor, .adafactor = {.factored_from = 8, .momentum = 0.5}};
  check_resumes<TinyVMoe>(options);

  const TemporaryFolder folder;
  options.folder = folder / "learns";
  options.steps = 150;
  options.mixup = 0;
  options.schedule = {.peak = 0.1, .warmup = 4};  // times the size of a parameter
  options.optimizer.adafactor = {.momentum = 0.5};
  const TrainingResult result = train<TinyVMoe>(images(), options);
  CHECK(result.best_accuracy > 0.8);
  check_in_fingerprint("optimizer", [](TrainerOptions& other) { other.optimizer.kind = OptimizerKind::adafactor; });
  check_in_fingerprint("Adafactor, momentum", [](TrainerOptions& other) { other.optimizer.adafactor.momentum = 0.25; });
}

TEST_CASE("the weight decay of every optimiser is times the learning rate") {
  for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::sgd, OptimizerKind::adafactor}) {
    INFO(name_of(kind));
    TinyVit net, gradients;
    initialise(net.parameters(), {.seed = 1});
    set_to_zero(gradients.parameters());
    const auto kernel = [&] { return net.parameters()[0].values(); };
    const std::vector<float> before = kernel();
    AnyOptimizer optimizer(net.parameters(), {.kind = kind, .weight_decay = 0.5});
    optimizer.step(net.parameters(), gradients.parameters(), 0.25);
    const std::vector<float> after = kernel();
    for (std::size_t i = 0; i < before.size(); ++i) REQUIRE(after[i] == Approx(0.875f * before[i]).margin(1e-7));
  }
}

TEST_CASE("the z-loss keeps router logits small") {
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options(folder / "without");
  options.router.losses = {.importance = 0, .load = 0};
  const TrainingEntry without = last_entry<TinyVMoe>(options);
  CHECK(without.auxiliary == 0);
  options.folder = folder / "with";
  options.router.losses.z = 0.5;
  const TrainingEntry with = last_entry<TinyVMoe>(options);
  CHECK(with.auxiliary > 0);
  const TrainingHistory history = read_training_log(options.folder / "log.jsonl");
  CHECK(with.auxiliary < 0.9 * history.training.front().auxiliary);
  check_in_fingerprint("z-loss", [](TrainerOptions& other) { other.router.losses.z = 0.001; });
  options.router.losses.z = -1;
  CHECK(error_of([&] { train<TinyVMoe>(images(), options); }) ==
        "router z-loss: expected a weight from 0 up, found -1");
}

TEST_CASE("cutmix: boxes, shares and partners of a step") {
  constexpr Index height = 12, width = 20, batch = 6;
  double mean = 0;
  Index first_column = width, last_column = 0;
  for (Index step = 0; step < 400; ++step) {
    const Mixture mixture = draw_cutmix(batch, height, width, 1, 3, step);
    REQUIRE(mixture.boxes.size() == batch);
    const PixelBox& box = mixture.boxes.front();
    for (std::size_t i = 0; i < batch; ++i) {
      REQUIRE(mixture.boxes[i] == box);
      REQUIRE(mixture.shares[i] == static_cast<float>(1. - static_cast<double>(box.area()) / (height * width)));
    }
    std::vector<Index> partners = mixture.partners;
    std::sort(partners.begin(), partners.end());
    REQUIRE(partners == detail::whole_numbers(batch));
    mean += static_cast<double>(mixture.shares.front()) / 400;
    first_column = std::min(first_column, box.first_column), last_column = std::max(last_column, box.last_column);
  }
  // Half of the image's area would be in boxes if they were not cut off at the edges.
  CHECK(mean > 0.5);
  CHECK(mean < 0.75);
  CHECK(first_column == 0);
  CHECK(last_column == width);
  CHECK(draw_cutmix(batch, height, width, 1, 3, 7).partners == draw_cutmix(batch, height, width, 1, 3, 7).partners);
  CHECK(draw_cutmix(batch, height, width, 1, 3, 7).boxes != draw_cutmix(batch, height, width, 1, 4, 7).boxes);
}

TEST_CASE("mixed images have targets in the shares of their pixels") {
  constexpr Index height = 9, width = 7, batch = 4, channels = 2;
  // All pixels of image i are i, so that the mean over pixels tells the share of the partner.
  RowMajorMatrix images(batch, height * width * channels), mixed = RowMajorMatrix::Zero(batch, images.cols());
  for (Index image = 0; image < batch; ++image) images.row(image).setConstant(static_cast<float>(image));
  for (Index step = 0; step < 50; ++step) {
    const Mixture mixture = draw_mixture(batch, height, width, {.mixup = 1, .cutmix = 1}, 3, step);
    mix_images({images.data(), batch, images.cols()}, height, width, mixture,
               MatrixView(mixed.data(), batch, mixed.cols()));
    for (Index image = 0; image < batch; ++image) {
      const auto i = static_cast<std::size_t>(image);
      const float share = mixture.shares[i];
      const float expected =
          share * static_cast<float>(image) + (1.f - share) * static_cast<float>(mixture.partners[i]);
      REQUIRE(mixed.row(image).mean() == Approx(expected).margin(1e-5));
    }
  }
}

TEST_CASE("steps are mixed by mixup, by cutmix or by either") {
  const auto cut_steps = [](const Mixing& mixing) {
    Index count = 0;
    for (Index step = 0; step < 1000; ++step) {
      const bool is_cut = is_cutmix_step(mixing, 5, step);
      REQUIRE(draw_mixture(3, 8, 8, mixing, 5, step).boxes.empty() == !is_cut);
      count += is_cut;
    }
    return count;
  };
  CHECK(cut_steps({.mixup = 0.2}) == 0);
  CHECK(cut_steps({.cutmix = 0.2}) == 1000);
  CHECK(cut_steps({.mixup = 0.2, .cutmix = 1, .cutmix_probability = 0}) == 0);
  CHECK(cut_steps({.mixup = 0.2, .cutmix = 1, .cutmix_probability = 1}) == 1000);
  CHECK(std::abs(cut_steps({.mixup = 0.2, .cutmix = 1, .cutmix_probability = 0.25}) - 250) < 50);
  CHECK(draw_mixture(3, 8, 8, {.mixup = 0.2}, 5, 1).shares == draw_mixture(3, 0.2, 5, 1).shares);
}

TEST_CASE("runs with cutmix go on to the same bits, with super-classes of mixed targets, too") {
  TrainerOptions options = tiny_options({});
  options.cutmix = 1;
  options.router.super_classes = {0, 1, 1};
  check_resumes<TinyMobile>(options);
  check_in_fingerprint("cutmix", [](TrainerOptions& other) { other.cutmix = 1; });
  check_in_fingerprint("cutmix probability", [](TrainerOptions& other) { other.cutmix_probability = 0.25; });
  options.cutmix = 5;
  CHECK(error_of([&] { check_options(options); }).starts_with("training: expected a folder"));
  options.folder = "run";
  CHECK(error_of([&] { check_options(options); }) == "cutmix: expected an alpha from 0 to 4, found 5");
  options.cutmix = 1;
  options.cutmix_probability = -1;
  CHECK(error_of([&] { check_options(options); }) == "cutmix: expected a probability from 0 to 1, found -1");
}

TEST_CASE("runs with dropout and stochastic depth learn and go on to the same bits, with checkpoints in blocks, too") {
  TrainerOptions options = tiny_options({});
  options.drop = {.dropout = 0.1, .expert_dropout = 0.2, .stochastic_depth = 0.1};
  check_resumes<TinyVMoe>(options);

  const TemporaryFolder folder;
  options.folder = folder / "saved";
  train<TinyMobile>(images(), options);
  options.folder = folder / "recomputed";
  options.recompute = true;
  options.threads = 2;
  train<TinyMobile>(images(), options);
  for (const char* name : files) {
    INFO(name);
    CHECK(bytes_of(folder / "saved" / name) == bytes_of(options.folder / name));
  }

  options.folder = folder / "learns";
  options.steps = 200;
  options.mixup = 0;
  CHECK(train<TinyVMoe>(images(), options).best_accuracy > 0.9);
  check_in_fingerprint("dropout", [](TrainerOptions& other) { other.drop.dropout = 0.1; });
  check_in_fingerprint("expert dropout", [](TrainerOptions& other) { other.drop.expert_dropout = 0.1; });
  check_in_fingerprint("stochastic depth", [](TrainerOptions& other) { other.drop.stochastic_depth = 0.1; });
  options.drop.dropout = 1;
  CHECK(error_of([&] { check_options(options); }) == "dropout: expected a rate from 0 to below 1, found 1");
}

TEST_CASE("evaluations drop nothing") {
  const TemporaryFolder folder;
  TinyVMoe net;
  initialise(net.parameters(), {.seed = 1, .zero_head = false});
  TrainerOptions options = tiny_options(folder / "run");
  TrainingPass<TinyVMoe> plain(net, options);
  options.drop = {.dropout = 0.5, .expert_dropout = 0.5, .stochastic_depth = 0.5};
  TrainingPass<TinyVMoe> dropping(net, options);
  Loader loader(images(), detail::whole_numbers(60), net.preprocessing(), {.batch = 7});
  const Evaluation before = dropping.evaluate(net, loader);
  const StepLosses step = dropping.compute(net, loader.next(), 3);
  loader.seek(0, 0);
  const Evaluation after = dropping.evaluate(net, loader);
  loader.seek(0, 0);
  CHECK(before.loss == after.loss);
  CHECK(before.loss == plain.evaluate(net, loader).loss);
  loader.seek(1, 0);
  CHECK(step.loss != plain.compute(net, loader.next(), 3).loss);
}

TEST_CASE("residual experts are trained with aligned gradients, and a run goes on to the same bits") {
  TrainerOptions options = tiny_options({});
  options.router.aligned_gradients = true;
  check_resumes<TinyResidual>(options);

  const TemporaryFolder folder;
  options.steps = 150;
  options.mixup = 0;
  options.folder = folder / "learns";
  CHECK(train<TinyResidual>(images(), options).best_accuracy > 0.9);
  check_in_fingerprint("aligned gradients", [](TrainerOptions& other) { other.router.aligned_gradients = true; });
  options.folder = folder / "weighted";
  CHECK(contains(error_of([&] { train<TinyVMoe>(images(), options); }),
                 "block 1: expected aligned gradients only where scale_by_gate is false"));
}
