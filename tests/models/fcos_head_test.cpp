// FCOS with its feature pyramid as plain loops, and its gradients.
#include "models/dense_reference.hpp"

#include <moevit/models/fcos_head.hpp>

using namespace moevit;

namespace {

using reference::Maps;
using reference::Weights;

constexpr std::array<Index, 3> widths{3, 5, 4}, strides{4, 8, 16};

/// Levels of the pyramid, the finest first.
std::vector<Maps> pyramid(std::vector<Maps> maps, std::size_t extra, const Weights& weights) {
  const auto name = [](const char* part, std::size_t i) {
    return std::string("head.pyramid.") + part + std::to_string(i);
  };
  for (std::size_t i = maps.size(); i-- > 0;) {
    const bool is_last = i + 1 == maps.size();
    maps[i] = reference::convolution(maps[i], weights, name("lateral.", i), {1, 1, 0});
    if (!is_last) maps[i] = reference::sum(maps[i], reference::resize(maps[i + 1], maps[i].size));
  }
  for (std::size_t i = 0; i < maps.size(); ++i)
    maps[i] = reference::convolution(maps[i], weights, name("smoothing.", i), {3, 1, 1});
  for (std::size_t i = 0; i < extra; ++i)
    maps.push_back(reference::convolution(i == 0 ? maps.back() : reference::relu(maps.back()), weights,
                                          name("coarser.", i), {3, 2, 1}));
  return maps;
}

/// The outputs of the head in its order: classes of all rows, then boxes of all rows.
template <FcosConfig config>
std::vector<double> fcos(const std::vector<Maps>& maps, const Weights& weights) {
  const auto first = maps.begin() + config.first_stage;
  const std::vector<Maps> levels = pyramid({first, maps.end()}, std::size_t{config.extra_levels}, weights);
  std::vector<double> classes, boxes;
  double stride = static_cast<double>(strides[std::size_t{config.first_stage}]);
  for (std::size_t level = 0; level < levels.size(); ++level, stride *= 2) {
    const auto tower = [&](const std::string& kind, const std::string& end) {
      Maps x = levels[level];
      for (Index i = 0; i < config.towers; ++i)
        x = reference::normed_convolution(x, weights, "head." + kind + "_tower." + std::to_string(i), {3, 1, 1},
                                          config.groups);
      return reference::convolution(x, weights, "head." + end, {3, 1, 1});
    };
    const Maps own = tower("class", "classes");
    classes.insert(classes.end(), own.values.begin(), own.values.end());
    Maps sides = tower("box", "boxes");
    const double scale = weights["head.levels." + std::to_string(level) + ".scale"][0];
    for (std::size_t i = 0; i < sides.values.size(); ++i)
      if (i % 5 < 4) sides.values[i] = stride * std::exp(std::min(scale * sides.values[i], 10.));
    boxes.insert(boxes.end(), sides.values.begin(), sides.values.end());
  }
  classes.insert(classes.end(), boxes.begin(), boxes.end());
  return classes;
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
