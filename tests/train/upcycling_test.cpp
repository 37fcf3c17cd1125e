// Sparse upcycling: dense weights and optimiser state become those of a sparse model.
#include "catch.hpp"
#include "errors.hpp"
#include "io/temporary_folder.hpp"
#include "random_values.hpp"
#include "train/tiny_training.hpp"

#include <moevit/moe/residual_expert_bank.hpp>
#include <moevit/train/upcycling.hpp>

#include <algorithm>
#include <cmath>
#include <map>

using namespace moevit;
using namespace moevit::test;

namespace {

struct Renormalised : VMoe<tiny, MoeConfig{.experts = 4, .selected = 2, .placement = every(1), .renormalise = true}> {};
struct WeightOne : VMoe<tiny, MoeConfig{.experts = 3, .selected = 1, .placement = every(2), .scale_by_gate = false}> {};
struct ExpertsSoft
    : VMoe<tiny, MoeConfig{.experts = 3, .placement = every(2), .router = RouterKind::soft, .slots = 2}> {};
struct MobileWeightOne
    : MobileVMoe<tiny, MoeConfig{.experts = 2, .selected = 1, .placement = last(2), .scale_by_gate = false}> {};
struct MobileTop2
    : MobileVMoe<tiny, MoeConfig{.experts = 3, .selected = 2, .placement = last(1), .renormalise = true}> {};

template <Index rank>
struct WithCore
    : Vit<tiny, SparseMlp<TopKRouter<8, 4>, ResidualExpertBank<ConfiguredMlp<tiny>, rank>,
                          MoeConfig{.experts = 4, .selected = 1, .placement = every(2), .scale_by_gate = false}>> {};

template <class Net>
std::vector<float> outputs_of(const Net& net, Index images) {
  Context context = net.context({.images = images});
  std::vector<float> outputs(static_cast<std::size_t>(images * tiny.classes));
  net.forward(normal_values(images * tiny.image_values(), 8), outputs, context);
  return outputs;
}

TinyVit trained_vit() {
  TinyVit dense;
  randomise(dense.parameters(), 4);
  dense.set_class_names({"a", "b", "c"});
  return dense;
}

std::vector<float> times(const std::vector<float>& values, int count) {
  std::vector<float> all;
  for (int i = 0; i < count; ++i) all.insert(all.end(), values.begin(), values.end());
  return all;
}

const MemoryDataset& images() {
  static const MemoryDataset dataset = striped_images(60);
  return dataset;
}

constexpr const char* files[] = {"weights.safetensors", "checkpoint.safetensors", "log.jsonl"};

/// Trains a sparse model that starts from a dense run's weights and optimiser, up to a kill behind step `last`.
void train_upcycled(const std::filesystem::path& dense_run, const TrainerOptions& options, Index last = 0) {
  TinyVit dense;
  load(dense, dense_run / "weights.safetensors");
  Renormalised sparse;
  initialise(sparse.parameters(), {.seed = options.seed});
  upcycle(dense, sparse);
  Trainer trainer(sparse, {images(), validation_split(images())}, options);
  trainer.start_optimizer(
      upcycled(read_optimizer_state(dense_run / "checkpoint.safetensors"), trainer.optimizer_state()));
  KillAt killer(last);
  trainer.run(killer);
}

TrainerOptions dense_options(const std::filesystem::path& folder) {
  TrainerOptions options = tiny_options(folder);
  options.averaging.reset();
  return options;
}

}  // namespace

TEMPLATE_TEST_CASE("an upcycled model computes the dense model's function", "", Renormalised, WeightOne,
                   MobileWeightOne, MobileTop2) {
  const TinyVit dense = trained_vit();
  TestType sparse;
  initialise(sparse.parameters(), {.seed = 2});
  upcycle(dense, sparse);
  const std::vector<float> expected = outputs_of(dense, 9), found = outputs_of(sparse, 9);
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(found[i] == Approx(expected[i]).margin(2e-6));
  CHECK(sparse.class_names() == dense.class_names());
}

TEMPLATE_TEST_CASE("experts get the MLP, routers keep theirs, everything else is copied", "", Renormalised, WeightOne,
                   ExpertsSoft, MobileTop2) {
  const TinyVit dense = trained_vit();
  TestType sparse;
  initialise(sparse.parameters(), {.seed = 2});
  const auto before = values_of(sparse);
  upcycle(dense, sparse);
  const auto source = values_of(dense), found = values_of(sparse);
  const std::string last_mlp = "blocks.1.mlp.", last_experts = "blocks.1.moe.experts.";
  const int experts = static_cast<int>(TestType::moe.experts);
  for (const std::string part : {"hidden.kernel", "hidden.bias", "output.kernel", "output.bias"})
    CHECK(found.at(last_experts + part) == times(source.at(last_mlp + part), experts));
  int routers = 0;
  for (const auto& [name, values] : found)
    if (contains(name, "router.")) {
      ++routers;
      CHECK(values == before.at(name));
    } else if (source.contains(name)) {
      CHECK(values == source.at(name));
    }
  CHECK(routers > 0);
}

TEST_CASE("raw gates scale an upcycled model's experts down") {
  const TinyVit dense = trained_vit();
  TinyVMoe sparse;
  initialise(sparse.parameters(), {.seed = 2});
  upcycle(dense, sparse);
  const std::vector<float> expected = outputs_of(dense, 3), found = outputs_of(sparse, 3);
  CHECK(std::abs(found[0] - expected[0]) > 1e-3);
}

TEST_CASE("dense models that do not fit are refused and change nothing") {
  constexpr VitConfig wider{
      .image = 8, .patch = 4, .channels = 1, .dim = 8, .depth = 3, .heads = 2, .hidden = 12, .classes = 3};
  Vit<wider> dense;
  Renormalised sparse;
  initialise(sparse.parameters(), {.seed = 2});
  const auto before = values_of(sparse);
  const auto& other = dense;
  const std::string message = error_of([&] {
    upcycle(std::span<const ConstParameter>(other.parameters()), std::span<const Parameter>(sparse.parameters()));
  });
  INFO(message);
  CHECK(
      contains(message, "upcycling: the dense model's parameters do not fit the sparse one, which is left as it was:"));
  CHECK(contains(message,
                 "\n  blocks.0.moe.experts.hidden.kernel: expected [4, 8, 16], found [4, 8, 12] from "
                 "blocks.0.mlp.hidden.kernel [8, 12]"));
  CHECK(contains(message, "\n  blocks.2.attention.key.bias: this model has no place for it"));
  CHECK_FALSE(contains(message, "attention.query.kernel: expected"));
  CHECK(values_of(sparse) == before);
  const Renormalised first;
  TinyVMoe second;
  CHECK(contains(error_of([&] {
                   upcycle(std::span<const ConstParameter>(first.parameters()),
                           std::span<const Parameter>(second.parameters()));
                 }),
                 "blocks.0.mlp.hidden.kernel: expected blocks.0.mlp.hidden.kernel in the other model, found none"));
}

TEST_CASE("the optimiser's state is upcycled, and the run resumes to the same bits") {
  const TemporaryFolder folder;
  const TrainerOptions options = dense_options(folder / "dense");
  train<TinyVit>(images(), options);
  const OptimizerState dense = read_optimizer_state(folder / "dense" / "checkpoint.safetensors");
  CHECK(dense.steps == 24);

  Renormalised sparse;
  Trainer trainer(sparse, {images(), validation_split(images())}, dense_options(folder / "unused"));
  const OptimizerState state = upcycled(dense, trainer.optimizer_state());
  CHECK(state.steps == 24);
  CHECK(state.tensors.at("adam.second.blocks.0.moe.experts.hidden.kernel") ==
        times(dense.tensors.at("adam.second.blocks.0.mlp.hidden.kernel"), 4));
  CHECK(state.tensors.at("adam.first.head.bias") == dense.tensors.at("adam.first.head.bias"));
  CHECK(state.tensors.at("adam.first.blocks.1.moe.router.kernel") == std::vector<float>(8 * 4, 0.f));

  TrainerOptions upcycling = dense_options(folder / "unbroken");
  train_upcycled(folder / "dense", upcycling);
  CHECK(read_optimizer_state(folder / "unbroken" / "checkpoint.safetensors").steps == 48);
  TrainerOptions broken = upcycling;
  broken.folder = folder / "broken";
  CHECK_THROWS_AS(train_upcycled(folder / "dense", broken, 13), Killed);
  const std::string message = error_of([&] {
    Renormalised fresh;
    Trainer other(fresh, {images(), validation_split(images())}, broken);
    other.run();
  });
  CHECK(contains(message, "optimizer steps before: the checkpoint has 24, this run nothing"));
  CHECK(contains(message, "optimizer state before: the checkpoint has "));
  train_upcycled(folder / "dense", broken);
  for (const char* name : files) CHECK(bytes_of(folder / "unbroken" / name) == bytes_of(folder / "broken" / name));
  const TrainingHistory first = read_training_log(folder / "dense" / "log.jsonl"),
                        second = read_training_log(folder / "unbroken" / "log.jsonl");
  CHECK(second.training.front().loss < first.training.front().loss);
}

TEST_CASE("optimiser states that do not fit are refused") {
  const TemporaryFolder folder;
  TinyVMoe sparse;
  initialise(sparse.parameters());
  Trainer trainer(sparse, {images(), validation_split(images())}, dense_options(folder / "sparse"));
  TrainerOptions options = dense_options(folder / "dense");
  options.optimizer.kind = OptimizerKind::sgd;
  TinyVit dense;
  Trainer other(dense, {images(), validation_split(images())}, options);
  const std::string message = error_of([&] { upcycled(other.optimizer_state(), trainer.optimizer_state()); });
  INFO(message);
  CHECK(contains(message, "the dense model's optimiser does not fit the sparse one's:"));
  CHECK(
      contains(message, "adam.first.blocks.0.norm1.bias: expected adam.first.blocks.0.norm1.bias in the other model"));
  OptimizerState state = trainer.optimizer_state();
  state.tensors["adam.first.head.bias"].pop_back();
  CHECK(error_of([&] { trainer.start_optimizer(state); }) ==
        "optimizer state: adam.first.head.bias: expected 3 values, found 2");
  state.tensors.erase("adam.first.head.bias");
  CHECK(contains(error_of([&] { trainer.start_optimizer(state); }), "expected a tensor adam.first.head.bias"));
  trainer.run();
  CHECK(contains(error_of([&] { trainer.start_optimizer(trainer.optimizer_state()); }), "before the run begins"));
}

TEST_CASE("experts with a core get the MLP as their core, and residuals of zero or of a wanted size") {
  const TinyVit dense = trained_vit();
  const auto source = values_of(dense);
  WithCore<full_rank> whole;
  WithCore<2> factors;
  initialise(whole.parameters(), {.seed = 2});
  initialise(factors.parameters(), {.seed = 2});
  const auto before = values_of(whole);
  const std::string experts = "blocks.1.moe.experts.", mlp = "blocks.1.mlp.";
  upcycle(dense, whole);
  const auto found = values_of(whole);
  for (const std::string part : {"hidden.kernel", "hidden.bias", "output.kernel", "output.bias"}) {
    CHECK(found.at(experts + "core." + part) == source.at(mlp + part));
    CHECK(found.at(experts + "residual." + part) == std::vector<float>(4 * source.at(mlp + part).size(), 0.f));
  }
  CHECK(found.at("blocks.1.moe.router.kernel") == before.at("blocks.1.moe.router.kernel"));

  upcycle(dense, factors);
  const auto zero = values_of(factors);
  CHECK(zero.at(experts + "residual.hidden.right.kernel") == std::vector<float>(4 * 2 * 16, 0.f));
  CHECK(zero.at(experts + "residual.hidden.left.kernel") != std::vector<float>(4 * 8 * 2, 0.f));

  const auto deviation = [](const std::vector<float>& values) {
    double sum = 0;
    for (const float value : values) sum += double{value} * double{value};
    return std::sqrt(sum / static_cast<double>(values.size()));
  };
  upcycle(dense, whole, {.residual_deviation = 0.01});
  CHECK(deviation(values_of(whole).at(experts + "residual.hidden.kernel")) == Approx(0.01).epsilon(0.1));
  upcycle(dense, factors, {.residual_deviation = 0.01});
  const auto noisy = values_of(factors);
  const std::vector<float>&left = noisy.at(experts + "residual.output.left.kernel"),
        &right = noisy.at(experts + "residual.output.right.kernel");
  CHECK(deviation(left) * deviation(right) * std::sqrt(2.) == Approx(0.01).epsilon(0.3));
  CHECK(error_of([&] { upcycle(dense, whole, {.residual_deviation = -1}); }) ==
        "upcycling: expected a deviation of residuals from 0 up, found -1");
}

TEST_CASE("the optimiser's state goes to cores, and residuals begin without one") {
  const TemporaryFolder folder;
  TrainerOptions options = dense_options(folder / "dense");
  train<TinyVit>(images(), options);
  const OptimizerState dense = read_optimizer_state(folder / "dense" / "checkpoint.safetensors");
  WithCore<full_rank> sparse;
  options.folder = folder / "sparse";
  Trainer trainer(sparse, {images(), validation_split(images())}, options);
  const OptimizerState state = upcycled(dense, trainer.optimizer_state());
  CHECK(state.tensors.at("adam.second.blocks.1.moe.experts.core.hidden.kernel") ==
        dense.tensors.at("adam.second.blocks.1.mlp.hidden.kernel"));
  CHECK(state.tensors.at("adam.first.blocks.1.moe.experts.residual.hidden.kernel") ==
        std::vector<float>(4 * 8 * 16, 0.f));
}

TEST_CASE("cores, or everything but what was added, can be frozen, and a run goes on to the same bits") {
  const TinyVit dense = trained_vit();
  const auto source = values_of(dense);
  const TemporaryFolder folder;
  const auto start = [&](WithCore<2>& sparse) {
    initialise(sparse.parameters(), {.seed = 2});
    upcycle(dense, sparse);
  };
  for (const TrainedPart part : {TrainedPart::all_but_cores, TrainedPart::added}) {
    TrainerOptions options = tiny_options(folder / std::to_string(static_cast<int>(part)));
    options.optimizer.trains = part;
    options.router.aligned_gradients = true;
    WithCore<2> sparse;
    start(sparse);
    const auto before = values_of(sparse);
    Trainer trainer(sparse, {images(), validation_split(images())}, options);
    for (const auto& [name, values] : trainer.optimizer_state().tensors) CHECK_FALSE(contains(name, ".core."));
    trainer.run();
    int moved = 0, kept = 0;
    for (const auto& [name, values] : values_of(sparse)) {
      const bool is_added = contains(name, ".residual.") || contains(name, ".router.") || name.starts_with("head.");
      const bool is_trained = part == TrainedPart::added ? is_added : !contains(name, ".core.");
      CAPTURE(name);
      CHECK((values == before.at(name)) == !is_trained);
      ++(is_trained ? moved : kept);
    }
    CHECK((moved > 0 && kept > 0));

    TrainerOptions broken = options;
    broken.folder = folder / "broken" / std::to_string(static_cast<int>(part));
    for (const Index last : {13, 0}) {
      WithCore<2> again;
      start(again);
      Trainer other(again, {images(), validation_split(images())}, broken);
      KillAt killer(last);
      if (last)
        CHECK_THROWS_AS(other.run(killer), Killed);
      else
        other.run(killer);
    }
    for (const char* name : files) CHECK(bytes_of(options.folder / name) == bytes_of(broken.folder / name));
  }
}
