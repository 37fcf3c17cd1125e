// The UPerNet head as plain loops, and its gradients.
#include "layers/map_reference.hpp"
#include "models/dense_reference.hpp"

#include <moevit/models/upernet_head.hpp>

using namespace moevit;

namespace {

constexpr UperNetConfig config{.width = 6, .classes = 3, .groups = 2};
constexpr std::array<Index, 3> widths{5, 8, 7};
using Head = UperNetHead<config, widths>;
using reference::Maps;
using reference::Weights;

/// The head in the order of the paper's figure.
Maps upernet(const std::vector<Maps>& maps, const Weights& weights) {
  std::vector<Maps> merged = maps;
  const Maps& last = maps.back();
  std::vector<Maps> beside{last};
  for (const Index side : {1, 2, 3, 6}) {
    const Maps reduced = reference::normed_convolution(reference::pool(last, {side, side}), weights,
                                                       "head.pooling." + std::to_string(side), {1, 1, 0}, 2);
    beside.push_back(reference::resize(reduced, last.size));
  }
  merged.back() =
      reference::normed_convolution(reference::beside(beside), weights, "head.pooling.bottleneck", {3, 1, 1}, 2);
  for (std::size_t level = maps.size() - 1; level-- > 0;)
    merged[level] = reference::sum(
        reference::normed_convolution(maps[level], weights, "head.lateral." + std::to_string(level), {1, 1, 0}, 2),
        reference::resize(merged[level + 1], maps[level].size));
  for (std::size_t level = 0; level + 1 < maps.size(); ++level)
    merged[level] =
        reference::normed_convolution(merged[level], weights, "head.smoothing." + std::to_string(level), {3, 1, 1}, 2);
  for (Maps& map : merged) map = reference::resize(map, maps[0].size);
  const Maps fused = reference::normed_convolution(reference::beside(merged), weights, "head.fusion", {3, 1, 1}, 2);
  return reference::convolution(fused, weights["head.classifier.kernel"], weights["head.classifier.bias"], {1, 1, 0},
                                config.classes, false);
}

std::vector<Parameter> parameters_of(Head& head) {
  return test::collect([&](auto visit) { Head::each_parameter(head, "head", visit); });
}

void check(Index images, const Head::Sizes& sizes) {
  CAPTURE(images, sizes[0].height, sizes[0].width);
  Head head;
  const std::vector<Parameter> parameters = parameters_of(head);
  test::randomise(parameters, 1);
  test::HeadPass<Head> pass(images, sizes, widths);
  std::vector<float> logits;
  const std::vector<float> all = pass.run(head, logits);
  std::vector<float> inference(logits.size(), 77.f);
  pass.forward_only(head, inference);
  CHECK(inference == logits);

  const Maps expected = upernet(pass.reference_maps(), Weights(parameters));
  CHECK(reference::relative_error({logits.data(), images * sizes[0].places(), config.classes}, expected.matrix()) <
        2e-5);
  pass.check_gradients(all, parameters, [&](const std::vector<Maps>& maps, const Weights& weights) {
    return upernet(maps, weights).values;
  });
}

}  // namespace

TEST_CASE("UperNetHead agrees with plain loops, forward and backward") {
  check(2, {MapSize{9, 7}, MapSize{5, 4}, MapSize{3, 2}});
  check(1, {MapSize{1, 1}, MapSize{1, 1}, MapSize{1, 1}});
  check(1, {MapSize{14, 5}, MapSize{7, 3}, MapSize{7, 8}});
  check(0, {MapSize{4, 4}, MapSize{2, 2}, MapSize{1, 1}});
}
