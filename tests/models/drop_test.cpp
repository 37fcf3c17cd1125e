// Dropout, expert dropout and stochastic depth: means, gradients, the same bits for any threads and with checkpoints.
#include "catch.hpp"
#include "models/training_passes.hpp"

#include <cmath>
#include <iostream>
#include <limits>

namespace {

using namespace small_models;

constexpr DropRates all_rates{.dropout = 0.2, .expert_dropout = 0.3, .stochastic_depth = 0.4};

/// The loss of a training pass with a fixed drop as a function of parameters or images.
template <class Net>
class DroppedLoss {
 public:
  DroppedLoss(Net& net, const Pass<Net>& pass, const Drop& drop)
      : net_(net), pass_(pass), run_(net, {.images = batch}) {
    run_.context().routing.bf16_dispatch = false;
    run_.drop = drop;
  }
  double operator()(std::span<const float> images) {
    std::vector<float> outputs(pass_.outputs.size());
    run_.forward(net_, images, outputs);
    previous_ = std::exchange(last_, choices_of(run_.context()));
    double sum = 0.;
    for (std::size_t i = 0; i < outputs.size(); ++i) sum += double{outputs[i]} * double{pass_.weights[i]};
    return sum;
  }
  bool is_smooth() const { return previous_ == last_; }

 private:
  using Run = std::remove_cvref_t<decltype(Backpropagation(std::declval<const Net&>()))>;
  Net& net_;
  const Pass<Net>& pass_;
  Run run_;
  std::vector<int> previous_, last_;
};

/// Rows of ones behind a mask.
template <class Mask>
RowMajorMatrix masked_ones(const Mask& mask, Index rows, Index cols) {
  RowMajorMatrix ones = RowMajorMatrix::Ones(rows, cols);
  for (Index row = 0; row < rows; ++row) mask.apply(row, ones.data() + row * cols, cols);
  return ones;
}

}  // namespace

TEST_CASE("masks drop at their rate and keep the mean") {
  constexpr Index rows = 400, cols = 251;
  for (const double rate : {0.1, 0.5, 0.9}) {
    const RowMajorMatrix elements = masked_ones(ElementMask(rate, 77), rows, cols);
    const float kept = static_cast<float>(1. / (1. - rate));
    const double count = rows * cols, dropped = static_cast<double>((elements.array() == 0.f).count());
    CHECK(dropped / count == Approx(rate).margin(4 * std::sqrt(rate * (1 - rate) / count)));
    CHECK((elements.array() == 0.f || elements.array() == kept).all());
    // Neighbours know nothing of each other.
    double both = 0;
    for (Index row = 0; row + 1 < rows; ++row)
      for (Index col = 0; col + 1 < cols; ++col) {
        const bool is_dropped = elements(row, col) == 0.f;
        both += is_dropped && elements(row, col + 1) == 0.f;
        both += is_dropped && elements(row + 1, col) == 0.f;
      }
    CHECK(both / (2. * (rows - 1) * (cols - 1)) == Approx(rate * rate).margin(0.01));

    const RowMajorMatrix branch = masked_ones(BranchMask({}, rate, 78, 5), 5 * rows, 3);
    Index images = 0;
    for (Index image = 0; image < rows; ++image) {
      const float first = branch(5 * image, 0);
      CHECK((first == 0.f || first == kept));
      CHECK((branch.middleRows(5 * image, 5).array() == first).all());
      images += first == 0.f;
    }
    CHECK(static_cast<double>(images) / rows == Approx(rate).margin(4 * std::sqrt(rate * (1 - rate) / rows)));
  }
}

TEST_CASE("masks depend on seed, step, block, place and row, not on how rows are cut") {
  const Drop drop{.rates = all_rates, .seed = 5, .step = 9};
  const auto ones = [](const BlockMasks& masks) { return masked_ones(masks.attention, 12, 20); };
  const RowMajorMatrix first = ones(drop.block(2, 4, 4, false));
  CHECK((first == ones(drop.block(2, 4, 4, true))));
  CHECK_FALSE((first == ones(drop.block(1, 4, 4, false))));
  CHECK_FALSE((first == ones(Drop{.rates = all_rates, .seed = 6, .step = 9}.block(2, 4, 4, false))));
  CHECK_FALSE((first == ones(Drop{.rates = all_rates, .seed = 5, .step = 8}.block(2, 4, 4, false))));
  CHECK_FALSE((first == masked_ones(drop.block(2, 4, 4, false).mlp, 12, 20)));
  const BranchMask rest = drop.block(2, 4, 4, false).attention.from(5);
  CHECK((first.bottomRows(7) == masked_ones(rest, 7, 20)));
}

TEST_CASE("stochastic depth rises from the first block to the last") {
  const Drop drop{.rates = {.stochastic_depth = 0.6}, .seed = 1, .step = 0};
  const auto rate_of = [&](int block, Index depth) {
    const RowMajorMatrix ones = masked_ones(drop.block(block, depth, 1, false).attention, 4000, 1);
    return static_cast<double>((ones.array() == 0.f).count()) / 4000;
  };
  CHECK_FALSE(drop.block(0, 4, 1, false).attention.is_active());
  CHECK(rate_of(1, 4) == Approx(0.2).margin(0.03));
  CHECK(rate_of(2, 4) == Approx(0.4).margin(0.03));
  CHECK(rate_of(3, 4) == Approx(0.6).margin(0.03));
  CHECK(rate_of(0, 1) == Approx(0.6).margin(0.03));
}

TEST_CASE("rates of 0 leave every mask out") {
  const Drop drop{.rates = {}, .seed = 5, .step = 9};
  const BlockMasks masks = drop.block(3, 4, 17, false);
  CHECK_FALSE(drop.embedding().is_active());
  CHECK_FALSE(masks.attention.is_active());
  CHECK_FALSE(masks.mlp.is_active());
  CHECK_FALSE(masks.hidden.is_active());
  CHECK_FALSE(masks.experts.hidden.is_active());
  CHECK_FALSE(masks.experts.outputs.is_active());
}

TEST_CASE("gradients of every kind of model with masks are those of differences") {
  CheckedTensors checked;
  for_each_trainable([&]<class Net>(const std::string& name, Net net) {
    if (name == "random") return;  // its choices depend on the last bits of tokens
    INFO(name);
    const Drop drop{.rates = all_rates, .seed = 2, .step = 7};  // no router is near a tie
    const Pass<Net> pass(net, {.images = batch}, 1, drop);
    DroppedLoss<Net> loss(net, pass, drop);
    checked += check_pass(net, pass, loss, 150);
  });
  std::cout << "gradients with masks: " << checked.compared << " tensors compared, " << checked.jumped << " left out\n";
  CHECK(checked.compared > 100);
  CHECK(checked.jumped * 10 < checked.compared);
}

TEST_CASE("masked passes have the same bits for any number of threads, and with checkpoints") {
  for_each_trainable([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    const Drop drop{.rates = all_rates, .seed = 2, .step = 3}, next{.rates = all_rates, .seed = 2, .step = 4};
    const Pass<Net> one(net, {.images = batch}, 1, drop), three(net, {.images = batch + 2, .threads = 3}, 1, drop),
        again(net, {.images = batch, .threads = 2, .checkpoint = true}, 1, drop),
        other(net, {.images = batch}, 1, next);
    for (const Pass<Net>* same : {&three, &again}) {
      CHECK(same_bits(one.outputs, same->outputs));
      CHECK(same_bits(values_of(one.gradients), values_of(same->gradients)));
      CHECK(same_bits(one.d_images, same->d_images));
    }
    CHECK_FALSE(same_bits(one.outputs, other.outputs));
  });
}

TEST_CASE("each rate alone is seen where it should be") {
  const auto differs = [](const auto& net, DropRates rates) {
    using Net = std::remove_cvref_t<decltype(net)>;
    const Pass<Net> plain(net, {.images = batch}),
        dropped(net, {.images = batch}, 1, {.rates = rates, .seed = 1, .step = 1});
    return !same_bits(plain.outputs, dropped.outputs);
  };
  const DenseVit dense = random_model<DenseVit>();
  const TopK sparse = random_model<TopK>();
  CHECK(differs(dense, {.dropout = 0.3}));
  CHECK(differs(dense, {.stochastic_depth = 0.6}));
  CHECK_FALSE(differs(dense, {.expert_dropout = 0.3}));
  CHECK(differs(sparse, {.expert_dropout = 0.3}));
  CHECK_FALSE(differs(sparse, {}));
}

TEST_CASE("the mean of masked blocks is the block without masks") {
  // Up to the masks of the second half everything is the same, and behind them everything is linear.
  constexpr Index rows = 2 * config.tokens(), steps = 3000;
  using Block = DenseBlock<config>;
  Block block;
  unsigned seed = 5;
  Block::each_parameter(block, "block", [&](const Parameter& parameter) {
    parameter.assign(test::normal_values(parameter.size(), seed++, 0.f, 0.2f));
  });
  const std::vector<float> x = test::normal_values(rows * config.dim, 4);
  Arena memory(Block::saved_bytes(rows));
  const Block::Saved saved = Block::take_saved(rows, memory);
  Workspace workspace(Block::training_scratch(2));
  RowMajorMatrix plain(rows, config.dim), result(rows, config.dim);
  const ConstMatrixView stream(x.data(), rows, config.dim);
  block.forward_saved(stream, saved, {plain.data(), rows, config.dim}, workspace);
  Eigen::ArrayXXd sum = Eigen::ArrayXXd::Zero(rows, config.dim), squares = sum;
  for (Index step = 0; step < steps; ++step) {
    BlockMasks masks = Drop{.rates = all_rates, .seed = 4, .step = step}.block(3, 4, config.tokens(), false);
    masks.attention = {};
    block.forward_saved(stream, saved, {result.data(), rows, config.dim}, workspace, masks);
    sum += result.cast<double>().array();
    squares += result.cast<double>().array().square();
  }
  const Eigen::ArrayXXd mean = sum / steps, error = ((squares / steps - mean.square()) / steps).sqrt();
  CHECK((error > 0).all());
  const double worst = ((mean - plain.cast<double>().array()) / error).abs().maxCoeff();
  CHECK(worst < 5);  // of 640 values, in standard errors
}

TEST_CASE("rates that make no sense are refused") {
  CHECK_THROWS_WITH(DropRates{.dropout = 1}.check(), "dropout: expected a rate from 0 to below 1, found 1");
  CHECK_THROWS_WITH(DropRates{.expert_dropout = -0.5}.check(),
                    "expert dropout: expected a rate from 0 to below 1, found -0.5");
  CHECK_THROWS_AS(DropRates{.stochastic_depth = std::numeric_limits<double>::quiet_NaN()}.check(), Error);
  all_rates.check();
}
