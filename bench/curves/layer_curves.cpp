/// A sparse layer against the number of experts, of tokens, and the capacity.
#include "curves.hpp"
#include "moe_common.hpp"
#include "sparse_layer.hpp"

namespace moevit::bench {
namespace {

/// A layer with inputs that take turns.
template <class Layer>
struct TimedLayer {
  Layer layer;
  std::vector<std::vector<float>> x;
  std::vector<float> y;

  explicit TimedLayer(LayerRows size) : layer(size), y(static_cast<std::size_t>(layer.rows() * Layer::width)) {
    for (unsigned input = 0; input < inputs; ++input)
      x.push_back(image_tokens(size.images, size.tokens_per_image, Layer::width, 1000 * (input + 1)));
  }
  double seconds() {
    return time_runs([this](Index call) { layer.run(x[static_cast<std::size_t>(call % inputs)], y); });
  }
  /// Arithmetic, or the weights from where so many of them fit, whichever takes longer.
  double expected(const Limits& limits) const {
    const double weights = bytes_read(layer.parameters, share_of_used_experts(layer.context.plan(0)));
    return limits.seconds(layer.cost().multiply_adds, weights, limits.bandwidth_of(weights));
  }
};

template <Index experts>
void experts_point(const Limits& limits) {
  TimedLayer<SparseLayer<TopKRouter<64, experts>, 256>> timed({.images = 128, .tokens_per_image = 64, .selected = 2});
  const double seconds = timed.seconds();
  write_point("experts", "D=64, H=256, 8192 tokens, top-2", experts, seconds, timed.expected(limits));
}

void tokens_curve(const Limits& limits) {
  for (const Index images : {1, 2, 4, 8, 16, 32, 64, 128}) {
    TimedLayer<SparseLayer<TopKRouter<192, 8>, 768>> timed({.images = images, .tokens_per_image = 64, .selected = 2});
    const double seconds = timed.seconds();
    write_point("tokens", "D=192, H=768, E=8, top-2", static_cast<double>(64 * images), seconds,
                timed.expected(limits));
  }
}

void capacity_curve(const Limits& limits) {
  TimedLayer<SparseLayer<TopKRouter<dim, 8>, hidden>> timed({.images = images, .selected = 2});
  for (const float ratio : {0.0625f, 0.125f, 0.25f, 0.5f, 0.75f, 1.f, 1.5f, 2.f}) {
    timed.layer.context.routing.capacity_ratio = ratio;
    const double seconds = timed.seconds();
    write_point("capacity", "D=384, H=1536, E=8, top-2, 1576 tokens", static_cast<double>(ratio), seconds,
                timed.expected(limits));
  }
}

}  // namespace

void layer_curves(const Limits& limits) {
  experts_point<4>(limits);
  experts_point<8>(limits);
  experts_point<16>(limits);
  experts_point<32>(limits);
  experts_point<64>(limits);
  experts_point<128>(limits);
  experts_point<256>(limits);
  tokens_curve(limits);
  capacity_curve(limits);
}

}  // namespace moevit::bench
