/// A ViT that somebody else trained, under somebody else's names, on the MNIST test set. (Trained MoE models:
/// tests/golden.)
#include "catch.hpp"
#include "shared.hpp"

#include <moevit/io/weights.hpp>
#include <moevit/moevit.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#if __has_include(<zlib.h>) && __has_include(<jpeglib.h>) && __has_include(<png.h>)
#include <moevit/io/dataset.hpp>

using namespace moevit;

namespace {

constexpr Index batch = 50, classes = 10, values = 28 * 28;

// ReLU, no bias for queries, keys and values, heads wider than dim / heads.
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

/// Logits of all images of a data set, `batch` at a time.
std::vector<float> logits_of(const Vit<mnist>& model, const Dataset& dataset) {
  const Preprocessing preprocessing{
      .height = 28, .width = 28, .channels = 1, .mean = {0.1307f}, .deviation = {0.3081f}};
  Context run = model.context({.images = batch, .threads = 2});
  std::vector<float> images(static_cast<std::size_t>(batch * values));
  std::vector<float> logits(static_cast<std::size_t>(dataset.size() * classes));
  for (Index first = 0; first < dataset.size(); first += batch) {
    const Index count = std::min(batch, dataset.size() - first);
    for (Index i = 0; i < count; ++i)
      dataset.read(first + i, preprocessing, std::span(images).subspan(static_cast<std::size_t>(i * values), values));
    model.forward(
        std::span(images).first(static_cast<std::size_t>(count * values)),
        std::span(logits).subspan(static_cast<std::size_t>(first * classes), static_cast<std::size_t>(count * classes)),
        run);
  }
  return logits;
}

Index count_correct(const std::vector<float>& logits, const Dataset& dataset) {
  Index correct = 0;
  for (Index image = 0; image < dataset.size(); ++image) {
    const auto row = logits.begin() + image * classes;
    correct += std::max_element(row, row + classes) - row == dataset.label(image);
  }
  return correct;
}

}  // namespace

TEST_CASE("a foreign trained ViT classifies MNIST as its README says [large]", "[large]") {
  const auto folder = test::shared("data/vit");
  if (!folder) return;
  Vit<mnist> model;
  CHECK(load(model, *folder / "vit_mnist.safetensors").naming == "vit_pytorch");
  const auto dataset = open_dataset(*folder, {.split = "t10k"});
  const std::vector<float> logits = logits_of(model, *dataset);
  CHECK(count_correct(logits, *dataset) == 9721);

  std::ifstream table(*folder / "reference_logits.tsv");
  std::string line;
  std::getline(table, line);  // the heading
  Index images = 0;
  for (; std::getline(table, line); ++images) {
    std::istringstream fields(line);
    Index image = 0, label = 0;
    fields >> image >> label;
    REQUIRE(image == images);
    CHECK(label == dataset->label(image));
    for (Index i = 0; i < classes; ++i) {
      float expected = 0;
      REQUIRE(fields >> expected);
      CHECK(std::abs(logits[static_cast<std::size_t>(image * classes + i)] - expected) <=
            2e-5f);  // six decimals, up to 13
    }
  }
  CHECK(images == 32);
}

#endif
