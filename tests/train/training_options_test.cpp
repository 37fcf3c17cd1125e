// Options of training runs: each changes what is learnt, is in the fingerprint, and leaves a run that can be resumed.
#include "train/resumed_runs.hpp"

#include <functional>

using namespace moevit;
using namespace moevit::test;

namespace {

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
}
