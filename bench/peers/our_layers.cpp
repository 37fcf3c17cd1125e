/// Sparse layers of ours: router, experts, combination.
#include "our_case.hpp"

namespace moevit::bench {
namespace {

template <class RouterType, Index inner>
OurCase layer_case(const Request& request, Index selected) {
  if (request.precision != "fp32") refuse_precision(request);
  const LayerRows size{.images = request.batch, .selected = selected, .threads = request.threads};
  const auto layer = std::make_shared<SparseLayer<RouterType, inner>>(size);
  const Index values = layer->rows() * RouterType::dim;
  return {values,
          values,
          layer->parameters,
          {},
          [layer](std::span<const float> x, std::span<float> y) { layer->run(x, y); },
          [layer] { return layer->cost(); }};
}

}  // namespace

bool make_layer(const Request& request, OurCase& made) {
  if (request.name == "vmoe_layer")
    made = layer_case<TopKRouter<384, 8>, 1536>(request, 2);
  else if (request.name == "mobile_layer")
    made = layer_case<PerImageRouter<192, 10>, 768>(request, 1);
  else
    return false;
  return true;
}

}  // namespace moevit::bench
