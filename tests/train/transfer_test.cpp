// Fine-tuning: a model takes a trained one's parameters where image size and classes differ.
#include "catch.hpp"
#include "io/temporary_folder.hpp"
#include "random_values.hpp"
#include "train/tiny_training.hpp"

#include <moevit/train/transfer.hpp>

#include <algorithm>
#include <map>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr VitConfig larger{
    .image = 12, .patch = 4, .channels = 1, .dim = 8, .depth = 2, .heads = 2, .hidden = 16, .classes = 5};
constexpr VitConfig larger_same_classes{
    .image = 12, .patch = 4, .channels = 1, .dim = 8, .depth = 2, .heads = 2, .hidden = 16, .classes = 3};
constexpr VitConfig with_representation{.image = 8,
                                        .patch = 4,
                                        .channels = 1,
                                        .dim = 8,
                                        .depth = 2,
                                        .heads = 2,
                                        .hidden = 16,
                                        .classes = 7,
                                        .representation = 6};
constexpr MoeConfig moe{.experts = 4, .selected = 2, .placement = every(2)};
constexpr MoeConfig more_selected{.experts = 4, .selected = 3, .placement = every(2)};
struct Larger : VMoe<larger, moe> {};
struct LargerTop3 : VMoe<larger_same_classes, more_selected> {};
struct Represented : VMoe<with_representation, moe> {};

template <class Net>
Net random_net(unsigned seed) {
  Net net;
  randomise(net.parameters(), seed);
  net.set_preprocessing({.height = Net::config.height(),
                         .width = Net::config.width(),
                         .channels = 1,
                         .shorter_side = Net::config.height() * 5 / 4,
                         .mean = {0.25f}});
  net.set_class_names({"a", "b", "c"});
  return net;
}

template <class Net>
std::vector<float> outputs_of(const Net& net) {
  Context context = net.context({.images = 2});
  std::vector<float> outputs(static_cast<std::size_t>(2 * Net::config.outputs()));
  net.forward(normal_values(2 * Net::config.image_values(), 8), outputs, context);
  return outputs;
}

bool is_head(const std::string& name) { return name.starts_with("head."); }

template <class Source, class Target>
std::string refusal_of(const Source& source, Target& target, const TransferOptions& options = {}) {
  const auto before = values_of(target);
  std::string message;
  try {
    transfer(source.parameters(), Source::config, target.parameters(), Target::config, options);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(values_of(target) == before);
  return message;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("transfer resizes positions, begins a new classifier and copies the rest") {
  const TinyVMoe trained = random_net<TinyVMoe>(1);
  Larger net = random_net<Larger>(9);
  net.set_class_names({"1", "2", "3", "4", "5"});
  transfer(trained, net);
  const auto source = values_of(trained), found = values_of(net);
  std::vector<float> positions(10 * 8);
  resize_positions(PositionResampling::zoom, source.at("position_embedding"), {2, 2, true}, positions, {3, 3, true}, 8);
  CHECK(found.at("position_embedding") == positions);
  for (const auto& [name, values] : found) {
    INFO(name);
    if (is_head(name))
      CHECK(std::all_of(values.begin(), values.end(), [](float value) { return value == 0.f; }));
    else if (name != "position_embedding")
      CHECK(values == source.at(name));
  }
  CHECK(outputs_of(net) == std::vector<float>(10, 0.f));
  CHECK(net.preprocessing().height == 12);
  CHECK(net.preprocessing().shorter_side == 15);
  CHECK(net.preprocessing().mean == std::vector<float>{0.25f});
  CHECK(net.class_names().size() == 5);
}

TEST_CASE("the classifier may stay as it was initialised, or be copied") {
  const TinyVMoe trained = random_net<TinyVMoe>(1);
  LargerTop3 net = random_net<LargerTop3>(9);
  net.set_class_names({});
  const auto before = values_of(net);
  transfer(trained, net, {.head = HeadStart::kept});
  CHECK(values_of(net).at("head.kernel") == before.at("head.kernel"));
  CHECK(net.class_names().empty());
  transfer(trained, net, {.head = HeadStart::copied, .resampling = PositionResampling::bilinear});
  CHECK(values_of(net).at("head.kernel") == values_of(trained).at("head.kernel"));
  CHECK(net.class_names() == trained.class_names());

  TinyVMoe same;
  transfer(trained, same, {.head = HeadStart::copied});
  CHECK(values_of(same) == values_of(trained));
  CHECK(outputs_of(same) == outputs_of(trained));
}

TEST_CASE("a tanh layer before the classifier is left out where the target has none") {
  const Represented trained = random_net<Represented>(1);
  TinyVMoe net = random_net<TinyVMoe>(9);
  transfer(trained, net);
  CHECK(values_of(net).at("norm.scale") == values_of(trained).at("norm.scale"));
  Represented target = random_net<Represented>(9);
  const std::string message = refusal_of(net, target);
  INFO(message);
  CHECK(contains(message, "transfer: the trained model does not fit this one, which is left as it was:"));
  CHECK(contains(message, "\n  representation.kernel: expected representation.kernel in the other model, found none"));
}

TEST_CASE("trained models that do not fit are refused") {
  const TinyVMoe trained = random_net<TinyVMoe>(1);
  TinyVit dense = random_net<TinyVit>(2);
  const std::string message = refusal_of(trained, dense);
  INFO(message);
  CHECK(contains(message, "\n  blocks.1.mlp.hidden.kernel: expected blocks.1.mlp.hidden.kernel in the other model"));
  CHECK(contains(message, "\n  blocks.1.moe.router.kernel: this model has no place for it"));
  Larger classes = random_net<Larger>(3);
  CHECK(contains(refusal_of(trained, classes, {.head = HeadStart::copied}),
                 "\n  head.kernel: expected [8, 5], found [8, 3]"));
  struct MoreExperts : VMoe<tiny, MoeConfig{.experts = 5, .selected = 2, .placement = every(2)}> {};
  MoreExperts experts = random_net<MoreExperts>(3);
  CHECK(contains(refusal_of(trained, experts), "\n  blocks.1.moe.experts.output.bias: expected [5, 8], found [4, 8]"));
}

TEST_CASE("a transferred model is fine-tuned with a larger capacity and learns faster than a fresh one") {
  const TemporaryFolder folder;
  const MemoryDataset images = striped_images(60);
  const auto options_of = [&](const std::string& name) {
    TrainerOptions options = tiny_options(folder / name);
    options.averaging.reset();
    options.mixup = 0;
    options.router.capacity_ratio = name == "trained" ? 1.05 : 1.5;
    return options;
  };
  TrainerOptions options = options_of("trained");
  options.steps = 100;
  train<TinyVMoe>(images, options);
  TinyVMoe trained;
  load(trained, folder / "trained" / "weights.safetensors");
  const auto last_loss = [&](const std::string& name, bool is_transferred) {
    LargerTop3 net;
    initialise(net.parameters(), {.seed = 2});
    if (is_transferred) transfer(trained, net);
    Trainer trainer(net, {images, validation_split(images)}, options_of(name));
    trainer.run();
    return read_training_log(trainer.files().log()).training.back().loss;
  };
  CHECK(last_loss("fine-tuned", true) < 0.8 * last_loss("fresh", false));
}
