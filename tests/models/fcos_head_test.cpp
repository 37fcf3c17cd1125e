// FCOS with its feature pyramid as plain loops, and its gradients.
#include "models/dense_reference.hpp"

#include <moevit/models/fcos_head.hpp>

using namespace moevit;

namespace {

using reference::Maps;
using reference::Weights;

constexpr std::array<Index, 3> widths{3, 5, 4}, strides{4, 8, 16};

template <FcosConfig config>
std::vector<double> fcos(const std::vector<Maps>& maps, const Weights& weights) {
  return reference::fcos(maps, weights, config, static_cast<double>(strides[std::size_t{config.first_stage}]));
}

template <FcosConfig config>
void check(Index images, const std::array<MapSize, 3>& sizes) {
  CAPTURE(images, sizes[1].height, sizes[1].width);
  using Head = FcosHead<config, widths, strides>;
  Head head;
  const auto parameters = test::collect([&](auto visit) { Head::each_parameter(head, "head", visit); });
  test::randomise(parameters, 1);
  test::HeadPass<Head> pass(images, sizes, widths);
  std::vector<float> outputs;
  const std::vector<float> all = pass.run(head, outputs);
  std::vector<float> inference(outputs.size(), 77.f);
  pass.forward_only(head, inference);
  CHECK(inference == outputs);
  const std::vector<double> expected = fcos<config>(pass.reference_maps(), Weights(parameters));
  REQUIRE(expected.size() == outputs.size());
  double largest = 0.;
  for (std::size_t i = 0; i < expected.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(outputs[i]) - expected[i]) / (1. + std::abs(expected[i])));
  CHECK(largest < 1e-4);
  pass.check_gradients(all, parameters, fcos<config>);
}

}  // namespace

TEST_CASE("FcosHead agrees with plain loops, forward and backward") {
  constexpr FcosConfig two{.width = 6, .classes = 3, .first_stage = 1, .extra_levels = 2, .towers = 3, .groups = 2};
  constexpr FcosConfig one{.width = 4, .classes = 1, .first_stage = 0, .extra_levels = 0, .towers = 1, .groups = 2};
  check<two>(2, {MapSize{9, 7}, MapSize{5, 4}, MapSize{3, 2}});
  check<two>(1, {MapSize{1, 1}, MapSize{1, 1}, MapSize{1, 1}});
  check<two>(0, {MapSize{4, 4}, MapSize{2, 2}, MapSize{1, 1}});
  check<one>(1, {MapSize{6, 5}, MapSize{3, 3}, MapSize{2, 2}});
}
