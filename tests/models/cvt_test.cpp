// CvT: the promises of all models for class tokens, experts and statistics of the batch, and files.
#include "catch.hpp"
#include "gradient_check.hpp"
#include "io/temporary_folder.hpp"
#include "models/allocation_counter.hpp"
#include "parameter_values.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/io/weights.hpp>
#include <moevit/models/cvt.hpp>
#include <moevit/models/hierarchical_backpropagation.hpp>
#include <moevit/train/parameter_runs.hpp>

using namespace moevit;
using moevit::test::values_of;

namespace {

constexpr CvtConfig with_token{.image = 17,
                               .channels = 2,
                               .depths = {1, 2},
                               .dims = {8, 12},
                               .heads = {2, 3},
                               .patches = {3, 3},
                               .patch_strides = {2, 2},
                               .patch_paddings = {1, 1},
                               .classes = 5,
                               .image_width = 12,
                               .batch_statistics = false};
constexpr CvtConfig of_batch = [] {
  CvtConfig config = with_token;
  config.batch_statistics = true;
  return config;
}();
constexpr CvtConfig with_mean = [] {
  CvtConfig config = of_batch;
  config.class_token = false;
  return config;
}();
struct Plain : Cvt<with_token> {};
struct OfBatch : Cvt<of_batch> {};
struct WithMean : Cvt<with_mean> {};
struct Sparse : Cvt<of_batch, MoeConfig{.experts = 3, .selected = 2, .placement = last_odd(1)}> {};

template <class Net>
Net random_model() {
  Net net;
  test::randomise(net.parameters(), 3);
  return net;
}

std::vector<float> images_of(Index count) { return test::normal_values(count * with_token.image_values(), 5); }

template <class Net>
std::vector<float> logits_of(const Net& net, std::span<const float> images, Index threads = 1) {
  const Index count = std::ssize(images) / with_token.image_values();
  std::vector<float> logits(static_cast<std::size_t>(count * 5));
  Context context = net.context({.images = std::max<Index>(count, 1), .threads = threads});
  net.forward(images, logits, context);
  return logits;
}

/// A training pass whose loss weighs the logits by fixed numbers: logits, gradients, and the statistics it leaves.
template <class Net>
struct Pass {
  std::vector<float> logits, gradients, d_images, statistics;

  Pass(Net net, std::span<const float> images, BackpropagationOptions options) {
    Backpropagation run(net, options);
    logits.resize(images.size() / static_cast<std::size_t>(with_token.image_values()) * 5);
    run.forward(net, images, logits);
    Net grads;
    set_to_zero(grads.parameters());
    d_images.resize(images.size());
    run.backward(net, test::normal_values(std::ssize(logits), 7), grads, d_images);
    gradients = values_of(grads);
    run.follow_statistics(net);
    statistics = values_of(net);
  }
  bool operator==(const Pass&) const = default;
};

template <class Visit>
void for_each_model(Visit visit) {
  visit(random_model<Plain>());
  visit(random_model<OfBatch>());
  visit(random_model<WithMean>());
  visit(random_model<Sparse>());
}

}  // namespace

TEST_CASE("CvT gives the same logits for any threads, batch sizes and places") {
  for_each_model([]<class Net>(const Net& net) {
    const std::vector<float> images = images_of(3), all = logits_of(net, images);
    CHECK(logits_of(net, {}).empty());
    for (const Index threads : {2, 3}) CHECK(logits_of(net, images, threads) == all);
    const std::size_t each = images.size() / 3;
    for (std::size_t image = 0; image < 3; ++image) {
      const std::vector<float> alone = logits_of(net, std::span(images).subspan(image * each, each));
      CHECK(std::equal(alone.begin(), alone.end(), all.begin() + static_cast<std::ptrdiff_t>(5 * image)));
    }
  });
}

TEST_CASE("training passes of CvT have the same bits for any threads and with checkpoints") {
  for_each_model([]<class Net>(const Net& net) {
    const std::vector<float> images = images_of(3);
    const Pass<Net> pass(net, images, {.images = 3});
    CHECK(Pass<Net>(net, images, {.images = 5, .threads = 2}) == pass);
    CHECK(Pass<Net>(net, images, {.images = 3, .threads = 3, .checkpoint = true}) == pass);
    const bool of_batch_statistics = Net::config.batch_statistics;
    CHECK((pass.statistics != values_of(net)) == of_batch_statistics);
  });
}

TEST_CASE("with running statistics, a training pass of CvT gives the logits of inference") {
  const Plain net = random_model<Plain>();
  const std::vector<float> images = images_of(2), want = logits_of(net, images);
  const Pass<Plain> pass(net, images, {.images = 2});
  // Inference folds the norms into the convolutions, which rounds otherwise.
  for (std::size_t i = 0; i < want.size(); ++i) CHECK(pass.logits[i] == Approx(want[i]).margin(1e-5));
}

TEST_CASE("gradients of CvT with statistics of the batch are those of differences") {
  OfBatch net = random_model<OfBatch>();
  const std::vector<float> images = images_of(2), weights = test::normal_values(10, 7);
  const Pass<OfBatch> pass(net, images, {.images = 2});
  Backpropagation run(net, {.images = 2});
  const auto loss = [&](std::span<const float> moved) {
    std::vector<float> logits(10);
    run.forward(net, moved, logits);
    double sum = 0.;
    for (std::size_t i = 0; i < logits.size(); ++i) sum += double{logits[i]} * double{weights[i]};
    return sum;
  };
  test::check_gradient({.name = "images", .values = images, .gradient = pass.d_images, .function = loss}, 70);
  std::size_t at = 0;
  for (const Parameter& parameter : net.parameters()) {
    const std::vector<float> values = parameter.values();
    const auto begin = pass.gradients.begin() + static_cast<std::ptrdiff_t>(at);
    test::check_gradient({.name = parameter.name,
                          .values = values,
                          .gradient = {begin, begin + static_cast<std::ptrdiff_t>(values.size())},
                          .function =
                              [&](std::span<const float> moved) {
                                parameter.assign(moved);
                                return loss(images);
                              }},
                         unsigned(100 + at));
    parameter.assign(values);
    at += values.size();
  }
}

TEST_CASE("CvT allocates nothing in steady state, and its bound of scratch is reached") {
  for_each_model([]<class Net>(const Net& net) {
    const std::vector<float> images = images_of(3);
    std::vector<float> logits(15), few(10);
    Context context = net.context({.images = 3});
    CHECK(Net::scratch_bytes(3, 1) == Net::scratch(routing_options(Net::moe), 3, Net::config.image_size()).total(1));
    net.forward(images, logits, context);
    CHECK(context.workspace().shared().peak() == context.workspace().shared().capacity());
    CHECK(context.workspace().worker_arenas().front().peak() <= context.workspace().worker_arenas().front().capacity());
    if (!allocation_counter::available()) return;
    allocation_counter::start();
    net.forward(images, logits, context);
    net.forward(std::span(images).first(images.size() / 3 * 2), few, context);
    CHECK(allocation_counter::stop() == 0);
    Net grads;
    set_to_zero(grads.parameters());
    Backpropagation run(net, {.images = 3});
    run.forward(net, images, logits);
    run.backward(net, logits, grads);  // room for the plan's gradient
    allocation_counter::start();
    run.forward(net, images, logits);
    run.backward(net, logits, grads);
    CHECK(allocation_counter::stop() == 0);
  });
}

TEST_CASE("files of CvT keep the running statistics and tell the configuration") {
  const test::TemporaryFolder folder;
  const Sparse net = random_model<Sparse>();
  save(net, folder / "cvt.safetensors");
  Sparse loaded;
  load(loaded, folder / "cvt.safetensors");
  CHECK(values_of(loaded) == values_of(net));
  const auto metadata = read_metadata(read_safetensors(folder / "cvt.safetensors"));
  REQUIRE(metadata);
  CHECK(metadata->description == net.description());
  WithMean other;
  CHECK_THROWS_WITH(load(other, folder / "cvt.safetensors"), Catch::Contains("class_token"));
}
