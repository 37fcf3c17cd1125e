// The UPerNet head as plain loops, and its gradients.
#include "models/head_pass.hpp"

using namespace moevit;

namespace {

constexpr UperNetConfig narrow{.width = 6, .classes = 3, .groups = 2},
    wide{.width = 32, .classes = 3, .groups = 4};  // whose convolutions of large maps go through Winograd
constexpr std::array<Index, 3> narrow_widths{5, 8, 7};
constexpr std::array<Index, 2> wide_widths{7, 32};
using Narrow = UperNetHead<narrow, narrow_widths>;
using Wide = UperNetHead<wide, wide_widths>;
using reference::Maps;
using reference::Weights;

template <class Head, std::size_t levels>
void check(const std::array<Index, levels>& widths, Index images, const typename Head::Sizes& sizes) {
  CAPTURE(images, sizes[0].height, sizes[0].width);
  constexpr UperNetConfig config = Head::config;
  Head head;
  const std::vector<Parameter> parameters =
      test::collect([&](auto visit) { Head::each_parameter(head, "head", visit); });
  test::randomise(parameters, 1);
  test::HeadPass<Head> pass(images, sizes, widths);
  std::vector<float> logits;
  const std::vector<float> all = pass.run(head, logits);
  std::vector<float> inference(logits.size(), 77.f);
  pass.forward_only(head, inference);
  CHECK(inference == logits);

  const Maps expected = reference::upernet(pass.reference_maps(), config, Weights(parameters));
  CHECK(reference::relative_error({logits.data(), images * sizes[0].places(), config.classes}, expected.matrix()) <
        2e-5);
  pass.check_gradients(all, parameters, [&](const std::vector<Maps>& maps, const Weights& weights) {
    return reference::upernet(maps, config, weights).values;
  });
}

}  // namespace

TEST_CASE("UperNetHead agrees with plain loops, forward and backward") {
  check<Narrow>(narrow_widths, 2, {MapSize{9, 7}, MapSize{5, 4}, MapSize{3, 2}});
  check<Narrow>(narrow_widths, 1, {MapSize{1, 1}, MapSize{1, 1}, MapSize{1, 1}});
  check<Narrow>(narrow_widths, 1, {MapSize{14, 5}, MapSize{7, 3}, MapSize{7, 8}});
  check<Narrow>(narrow_widths, 0, {MapSize{4, 4}, MapSize{2, 2}, MapSize{1, 1}});
  check<Wide>(wide_widths, 2, {MapSize{11, 13}, MapSize{10, 10}});
}
