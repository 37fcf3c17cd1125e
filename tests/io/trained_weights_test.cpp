/// Trained weights on the test images they are known for: every prediction, image by image.
#include "catch.hpp"
#include "shared.hpp"

#include <moevit/io/weights.hpp>
#include <moevit/moevit.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#if __has_include(<zlib.h>) && __has_include(<jpeglib.h>) && __has_include(<png.h>)
#include <moevit/io/dataset.hpp>

using namespace moevit;
using moevit::test::shared;

namespace {

constexpr Index batch = 8, classes = 10;

constexpr VitConfig mnist{.image = 28,
                          .patch = 4,
                          .channels = 1,
                          .dim = 64,
                          .depth = 6,
                          .heads = 4,
                          .hidden = 128,
                          .classes = classes,
                          .head_width = 64,
                          .activation = Activation::relu,
                          .qkv_bias = false,
                          .epsilon = 1e-5f};
constexpr VitConfig fashion{
    .image = 28, .patch = 4, .channels = 1, .dim = 64, .depth = 4, .heads = 4, .hidden = 128, .classes = classes};
using FashionVMoe = VMoe<fashion, MoeConfig{.experts = 8, .selected = 2, .placement = last_odd(2)}>;
using FashionMobile = MobileVMoe<fashion, MoeConfig{.experts = 5, .placement = last(2)}>;

/// Test images with their classes.
struct Images {
  Index count = 0;
  std::vector<float> values;
  std::vector<std::int32_t> labels;
};

Images read_images(const std::filesystem::path& folder, float mean, float deviation) {
  const auto dataset = open_dataset(folder, {.split = "t10k"});
  const Preprocessing preprocessing{.height = 28, .width = 28, .channels = 1, .mean = {mean}, .deviation = {deviation}};
  Images images{dataset->size(), std::vector<float>(static_cast<std::size_t>(dataset->size() * 28 * 28)), {}};
  for (Index i = 0; i < images.count; ++i) {
    dataset->read(i, preprocessing, std::span(images.values).subspan(static_cast<std::size_t>(i * 28 * 28), 28 * 28));
    images.labels.push_back(static_cast<std::int32_t>(dataset->label(i)));
  }
  return images;
}

/// Logits of all images, in batches of 8. `after(first, run)` sees the context after each batch.
template <class Model, class After>
std::vector<float> logits_of(const Model& model, const Images& images, Context& run, After after) {
  std::vector<float> logits(static_cast<std::size_t>(images.count * classes));
  for (Index first = 0; first < images.count; first += batch) {
    const Index count = std::min(batch, images.count - first);
    model.forward(
        std::span(images.values)
            .subspan(static_cast<std::size_t>(first * 28 * 28), static_cast<std::size_t>(count * 28 * 28)),
        std::span(logits).subspan(static_cast<std::size_t>(first * classes), static_cast<std::size_t>(count * classes)),
        run);
    after(first, count);
  }
  return logits;
}

std::int32_t best(std::span<const float> logits, Index image) {
  const auto row = logits.subspan(static_cast<std::size_t>(image * classes), classes);
  return static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

Index correct(const std::vector<float>& logits, const Images& images) {
  Index count = 0;
  for (Index i = 0; i < images.count; ++i) count += best(logits, i) == images.labels[static_cast<std::size_t>(i)];
  return count;
}

void expect_near(std::span<const float> got, std::span<const float> want, float tolerance) {
  REQUIRE(got.size() >= want.size());
  float worst = 0;
  for (std::size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
  CHECK(worst <= tolerance);
}

/// Every prediction must be the reference's; printed where it is not. Images whose margin is below 1e-4 may differ, and
/// `others` more, because a gate that almost ties can change who is dropped.
void expect_predictions(const TensorFile& outputs, const std::string& setting, const std::vector<float>& logits,
                        Index others) {
  const auto want = outputs.integers("predictions/" + setting);
  const auto margin = outputs.floats("margin/" + setting);
  Index different = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const std::int32_t got = best(logits, static_cast<Index>(i));
    if (got == want[i]) continue;
    std::cout << setting << ": image " << i << ": class " << got << ", reference " << want[i] << " with margin "
              << margin[i] << "\n";
    different += margin[i] >= 1e-4f;
  }
  INFO(setting);
  CHECK(different <= others);
}

/// Fashion-MNIST as Debian's package dataset-fashion-mnist installs it, and the folder of reference checkpoints.
struct Fashion {
  std::filesystem::path checkpoints;
  Images images;
};

std::optional<Fashion> fashion_data() {
  const auto checkpoints = shared("checkpoints");
  if (!checkpoints) return std::nullopt;
  const std::filesystem::path data = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(data)) {
    if (std::getenv("CI") != nullptr) FAIL("Debian package dataset-fashion-mnist is not installed");
    std::cout << "skipped: needs Debian package dataset-fashion-mnist\n";
    return std::nullopt;
  }
  return Fashion{*checkpoints, read_images(data, 0.2860f, 0.3530f)};
}

constexpr auto nothing = [](Index, Index) {};

}  // namespace

TEST_CASE("trained weights: a foreign ViT on MNIST") {
  const auto folder = shared("data/vit");
  if (!folder) return;
  Vit<mnist> model;
  CHECK(load(model, *folder / "vit_mnist.safetensors").naming == "vit_pytorch");
  const Images images = read_images(*folder, 0.1307f, 0.3081f);
  auto run = model.context({.images = batch, .threads = 2});
  const std::vector<float> logits = logits_of(model, images, run, nothing);
  CHECK(correct(logits, images) == 9721);

  std::vector<float> want;
  std::ifstream table(*folder / "reference_logits.tsv");
  std::string line;
  std::getline(table, line);  // the heading
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    Index image = 0, label = 0;
    fields >> image >> label;
    REQUIRE(image == std::ssize(want) / classes);
    CHECK(label == images.labels[static_cast<std::size_t>(image)]);
    for (float logit = 0; fields >> logit;) want.push_back(logit);
  }
  REQUIRE(want.size() == 32 * classes);
  expect_near(logits, want, 2e-5f);  // the table has six decimals of logits up to 13
}

TEST_CASE("trained weights: V-MoE on Fashion-MNIST, with and without capacity limits") {
  const auto data = fashion_data();
  if (!data) return;
  const TensorFile outputs = read_safetensors(data->checkpoints / "fashion_vmoe_outputs.safetensors");
  FashionVMoe model;
  CHECK(load(model, data->checkpoints / "fashion_vmoe.safetensors").naming == "vmoe");
  auto run = model.context({.images = batch, .threads = 2});
  const std::vector<float> logits = logits_of(model, data->images, run, nothing);
  expect_near(logits, outputs.floats("logits_first_64"), 2e-5f);
  expect_predictions(outputs, "no_drop", logits, 0);
  CHECK(correct(logits, data->images) == 9005);

  std::size_t settings = 0;
  for (const StoredTensor& tensor : outputs.tensors()) {
    constexpr std::string_view start = "predictions/cf_";
    if (!tensor.name.starts_with(start)) continue;
    const std::string setting = tensor.name.substr(std::string_view("predictions/").size());
    const bool always = setting.starts_with("cf_0.5_");
    if (!always && std::getenv("MOEVIT_LONG_TESTS") == nullptr) continue;
    run.routing.capacity_ratio = std::stod(tensor.name.substr(start.size()));
    run.routing.priority = tensor.name.ends_with("_bpr") ? Priority::max_gate : Priority::position;
    const std::vector<float> limited = logits_of(model, data->images, run, nothing);
    expect_predictions(outputs, setting, limited, 2);
    if (outputs.find("logits_first_64/" + setting))
      expect_near(limited, outputs.floats("logits_first_64/" + setting), 2e-5f);
    ++settings;
  }
  std::cout << "fashion_vmoe: " << settings << " capacity settings run (all of them with MOEVIT_LONG_TESTS=1)\n";
  CHECK(settings >= 2);
}

TEST_CASE("trained weights: Mobile V-MoE on Fashion-MNIST and the expert of every image") {
  const auto data = fashion_data();
  if (!data) return;
  const TensorFile outputs = read_safetensors(data->checkpoints / "fashion_mobile_vmoe_outputs.safetensors");
  const auto want = outputs.integers("expert");
  const auto margin = outputs.floats("router_margin");
  FashionMobile model;
  CHECK(load(model, data->checkpoints / "fashion_mobile_vmoe.safetensors").naming == "vmoe");
  auto run = model.context({.images = batch, .threads = 2});
  std::vector<std::int32_t> expert(want.size(), -1);
  const std::vector<float> logits = logits_of(model, data->images, run, [&](Index first, Index count) {
    const SparsePlan& plan = run.plan(3);
    for (const Choice& choice : plan.choices())
      expert[static_cast<std::size_t>(first + choice.token / (plan.tokens() / count))] = choice.expert;
  });
  expect_near(logits, outputs.floats("logits_first_64"), 2e-5f);
  expect_predictions(outputs, "no_drop", logits, 0);
  CHECK(correct(logits, data->images) == 8882);
  std::size_t different = 0;
  for (std::size_t i = 0; i < want.size(); ++i) different += expert[i] != want[i] && margin[i] >= 1e-4f;
  CHECK(different == 0);
}

#endif
