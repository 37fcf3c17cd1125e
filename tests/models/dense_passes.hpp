/// Training passes of segmenters and detectors against differences.
#pragma once

#include "errors.hpp"
#include "gradient_check.hpp"
#include "layers/map_test.hpp"
#include "models/small_dense_models.hpp"

#include <moevit/models/dense_backpropagation.hpp>

namespace moevit::test {

/// Compares the gradients of images and all parameters with differences of forward(). Steps are small, as ReLUs and
/// norms of few values bend the function.
template <class Net>
void check_dense_gradients(bool checkpoint) {
  Net net, grads;
  randomise(net.parameters(), 1);
  for (const Parameter& p : grads.parameters()) p.assign(std::vector<float>(static_cast<std::size_t>(p.size()), 0.f));
  constexpr MapSize size{11, 14};
  const std::vector<float> images = random_images(2, size, Net::channels, 5);
  const auto values = static_cast<std::size_t>(Net::output_values(2, size));
  const std::vector<float> cotangent = normal_values(static_cast<Index>(values), 9);
  Backpropagation run(net, {.images = 2, .checkpoint = checkpoint, .largest = {16, 16}});
  run.forward(net, random_images(1, {16, 9}, Net::channels, 4), {16, 9});  // leaves nothing behind
  const std::span<const float> outputs = run.forward(net, images, size);
  Context context = net.context({.images = 2}, size);
  std::vector<float> expected(values), d_images(images.size());
  net.forward(images, size, expected, context);
  CHECK(std::equal(outputs.begin(), outputs.end(), expected.begin(), expected.end()));
  run.backward(net, cotangent, grads, d_images);

  const auto loss = [&](std::span<const float> own) {
    net.forward(own, size, expected, context);
    return weighted_sum(std::span<const float>(expected), cotangent);
  };
  check_gradient({"images", images, d_images, loss, [] { return true; }, 3e-4, 0.04}, 3);
  const std::vector<Parameter> parameters = net.parameters(), gradients = grads.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::vector<float> own = parameters[i].values();
    // A bias of all keys changes no attention, so that its differences are rounding alone: smaller over a long step.
    const double step = parameters[i].name.ends_with("key.bias") ? 0.1 : 3e-4;
    check_gradient({parameters[i].name, own, gradients[i].values(),
                    [&](std::span<const float> moved) {
                      parameters[i].assign(moved);
                      const double result = loss(images);
                      parameters[i].assign(own);
                      return result;
                    },
                    [] { return true; }, step, 0.04},
                   3);
  }
  CHECK(contains(error_of([&] {
                   run.forward(net, random_images(2, {17, 16}, Net::channels, 4), {17, 16});
                 }),
                 "training pass: expected images that need at most"));
}

}  // namespace moevit::test
