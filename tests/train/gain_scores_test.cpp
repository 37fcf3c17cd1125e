// First-order gains of splitting MLPs: compared with what splitting them does to the loss.
#include "catch.hpp"
#include "errors.hpp"
#include "random_values.hpp"

#include <moevit/train/gain_scores.hpp>

#include <cstring>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr Index experts = 3, images = 6;
constexpr VitConfig vit{
    .image = 8, .patch = 4, .channels = 2, .dim = 12, .depth = 3, .heads = 2, .hidden = 20, .classes = 4};
constexpr SwinConfig swin{.image = 8,
                          .patch = 2,
                          .channels = 1,
                          .dim = 8,
                          .depths = {1, 2, 0, 0},
                          .heads = {2, 2, 0, 0},
                          .window = 2,
                          .mlp_ratio = 2.f,
                          .classes = 3};

template <class Net>
struct Data {
  static constexpr Index classes = Net::config.outputs();
  std::vector<float> first = normal_values(images * Net::config.image_values(), 5),
                     second = normal_values(images * Net::config.image_values(), 6),
                     targets = std::vector<float>(images * classes, 0.f);
  std::vector<ScoredBatch> batches;

  Data() {
    for (Index i = 0; i < images; ++i) targets[static_cast<std::size_t>(i * classes + i % classes)] = 1.f;
    for (const std::vector<float>* values : {&first, &second})
      batches.push_back({*values, {targets.data(), images, classes}});
  }
};

template <class Net>
double mean_loss(const Net& net, const Data<Net>& data) {
  Context context = net.context({.images = images});
  std::vector<float> outputs(data.targets.size()), unused(outputs.size());
  double sum = 0;
  for (const ScoredBatch& batch : data.batches) {
    net.forward(batch.images, outputs, context);
    sum += softmax_cross_entropy({outputs.data(), images, Data<Net>::classes}, batch.targets,
                                 MatrixView(unused.data(), images, Data<Net>::classes));
  }
  return sum / static_cast<double>(data.batches.size());
}

/// Moves the residuals of each block along minus the gradient without its mean, and compares what the loss does.
template <class Dense>
void check_against_differences() {
  Dense dense;
  randomise(dense.parameters(), 3);
  using Split = decltype(detail::split_type<experts>(dense));
  const Data<Dense> data;
  const Data<Split> same;
  const std::vector<BlockGain> gains = gain_scores<experts>(dense, data.batches, {.seed = 4});
  REQUIRE(std::ssize(gains) == Dense::depth);

  Split split, gradients;
  initialise(split.parameters(), {.seed = 4});
  upcycle(dense, split);
  set_to_zero(gradients.parameters());
  detail::add_loss_gradients(split, same.batches, 1, gradients);
  CHECK(mean_loss(split, same) == Approx(mean_loss(dense, data)).epsilon(1e-6));

  const std::vector<Parameter> parameters = split.parameters(), found = gradients.parameters();
  std::vector<std::string> prefixes;
  for (const Parameter& parameter : parameters)
    if (const auto place = parameter.name.find(detail::residual_part); place != std::string::npos)
      if (const std::string prefix = parameter.name.substr(0, place); prefixes.empty() || prefixes.back() != prefix)
        prefixes.push_back(prefix);
  REQUIRE(prefixes.size() == gains.size());
  for (std::size_t block = 0; block < gains.size(); ++block) {
    CAPTURE(block);
    REQUIRE(gains[block].score > 0);
    const auto move = [&](double length) {
      double squares = 0;
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        if (!parameters[i].name.starts_with(prefixes[block] + ".moe.experts.residual.")) continue;
        std::vector<float> values = found[i].values();
        const std::size_t size = values.size() / experts;
        for (std::size_t at = 0; at < size; ++at) {
          const float mean = (values[at] + values[at + size] + values[at + 2 * size]) / 3.f;
          for (std::size_t e = 0; e < experts; ++e) {
            float& value = values[at + e * size];
            value = static_cast<float>(-length * double{value - mean} / (2. * gains[block].score));  // of two batches
            squares += double{value} * double{value};
          }
        }
        parameters[i].assign(values);
      }
      CHECK(std::sqrt(squares) == Approx(std::abs(length)).epsilon(1e-3).margin(1e-9));
    };
    constexpr double length = 0.01;
    move(length);
    const double lower = mean_loss(split, same);
    move(-length);
    const double higher = mean_loss(split, same);
    move(0);
    CHECK((higher - lower) / (2 * length) == Approx(gains[block].score).epsilon(0.03).margin(2e-4));
  }
}

}  // namespace

TEST_CASE("the score of a block is how fast residuals that sum to zero can lower the loss") {
  SECTION("ViT") { check_against_differences<Vit<vit>>(); }
  SECTION("Swin") { check_against_differences<Swin<swin>>(); }
}

TEST_CASE("scores are the same for any number of threads, and mean squares over routings") {
  Vit<vit> dense;
  randomise(dense.parameters(), 3);
  const Data<Vit<vit>> data;
  const auto scores = [&](const GainOptions& options) { return gain_scores<experts>(dense, data.batches, options); };
  const std::vector<BlockGain> first = scores({.seed = 1}), second = scores({.seed = 2}),
                               both = scores({.routings = 2, .threads = 3});
  for (std::size_t i = 0; i < first.size(); ++i) {
    CHECK(scores({.threads = 2})[i].score == first[i].score);
    CHECK(both[i].score ==
          Approx(std::sqrt((first[i].score * first[i].score + second[i].score * second[i].score) / 2)));
  }
  CHECK(first[0].score != second[0].score);
}

TEST_CASE("equal gradients of all experts gain nothing, as moving the core does the same") {
  // Gradients 1, 0, 0: the mean is 1/3, and what is left 4/9 + 1/9 + 1/9.
  CHECK(detail::squared_split({1.f, 0.f, 0.f}, 3) == Approx(2. / 3.));
  CHECK(detail::squared_split({2.f, 5.f, 2.f, 5.f}, 2) == 0);
}

TEST_CASE("the best blocks become a placement and a table") {
  const std::vector<BlockGain> gains{{0, 1.}, {1, 3.}, {2, 2.}, {3, 3.}};
  CHECK(best_blocks(gains, 1) == blocks({1}));
  CHECK(best_blocks(gains, 3) == blocks({1, 3, 2}));
  CHECK(gain_table(gains, best_blocks(gains, 2)) ==
        "block       gain  experts\n    0          1  -\n    1          3  yes\n    2          2  -\n    3          3  "
        "yes\n");
  CHECK(error_of([&] { best_blocks(gains, 5); }) ==
        "best blocks: expected a number from 1 to the model's 4 blocks, found 5");
  Vit<vit> dense;
  CHECK(error_of([&] { gain_scores<2>(dense, {}); }) == "gain scores: expected at least one batch, found none");
}
