/// Sparse layers of ours: router, experts, combination.
#include "our_case.hpp"

#include <moevit/moe/per_image_router.hpp>
#include <moevit/moe/sparse_mlp.hpp>
#include <moevit/moe/top_k_router.hpp>

namespace moevit::bench {
namespace {

constexpr Index tokens_per_image = 197;

/// A sparse layer of `RouterType::dim` x `inner` experts on a batch of images.
template <class RouterType, Index inner>
struct Layer {
  static constexpr Index width = RouterType::dim, experts = RouterType::experts;
  static constexpr bool per_image = RouterType::scope == RouterScope::model;
  using MlpType = Mlp<width, inner>;
  using Sparse = SparseMlp<RouterType, ExpertBank<MlpType>>;

  Index images;
  RouterType image_router;  // used where the router stands outside the layer
  Sparse sparse;
  std::vector<Parameter> parameters = list_parameters();
  Context context;

  Layer(const Request& request, Index selected) : images(request.batch), context(make_context(request, selected)) {
    test::randomise(parameters, 7);
    Sparse::reserve(context.routings().front(), context.routing, images, tokens_per_image);
  }

  static Context make_context(const Request& request, Index selected) {
    const RoutingOptions options{.selected = selected};
    const ScratchBytes bytes = Sparse::scratch(options, request.batch, tokens_per_image);
    Context context({bytes.shared + arena_bytes<float>(request.batch * width), bytes.per_worker},
                    {.images = request.batch, .threads = request.threads}, {}, {0}, 1);
    context.routing = options;
    return context;
  }

  std::vector<Parameter> list_parameters() {
    std::vector<Parameter> list;
    const auto visit = [&](auto&& parameter) { list.push_back(std::forward<decltype(parameter)>(parameter)); };
    Sparse::each_parameter(sparse, "moe", visit);
    if constexpr (per_image) RouterType::each_parameter(image_router, "moe.router", visit);
    return list;
  }

  Index rows() const { return images * tokens_per_image; }

  void run(std::span<const float> x, std::span<float> y) {
    context.start_pass();
    std::fill(y.begin(), y.end(), 0.f);
    const BlockRows block{
        {x.data(), rows(), width}, {y.data(), rows(), width}, nullptr, images, tokens_per_image, 1, 0};
    if constexpr (per_image) image_router.route(block.request(context), context.routings().front());
    sparse.forward(block, context);
  }

  Cost cost() const {
    const SparsePlan& plan = context.plan(0);
    double used = 0.;
    for (int expert = 0; expert < plan.experts(); ++expert) used += plan.kept(expert) > 0;
    const double routed = static_cast<double>((per_image ? images : rows()) * width * experts);
    const double in_experts = static_cast<double>(context.expert_rows() * MlpType::multiply_adds);
    return {routed + in_experts, static_cast<double>(2 * rows() * width) * sizeof(float) +
                                     bytes_read(parameters, used / static_cast<double>(experts))};
  }
};

template <class RouterType, Index inner>
OurCase layer_case(const Request& request, Index selected) {
  if (request.precision != "fp32") refuse_precision(request);
  const auto layer = std::make_shared<Layer<RouterType, inner>>(request, selected);
  const Index values = layer->rows() * RouterType::dim;
  return {values, values, layer->parameters,
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
