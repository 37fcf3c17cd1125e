/// Whole models of ours, from normalised images to logits.
#include "fashion_models.hpp"
#include "in_precision.hpp"
#include "our_case.hpp"
#include "tiny_model.hpp"

#include <moevit/io/weights.hpp>
#include <moevit/models/presets.hpp>
#include <moevit/moevit.hpp>

namespace moevit::bench {
namespace {

/// Random weights send all images to one expert. The router's bias is moved so that the mean logit of every expert is
/// the same over the inputs: then images differ in their experts, as those of a trained model do.
template <class Net>
void balance_router(Net& net, const Request& request, Index first_sparse_block) {
  Context context = net.context({.images = request.batch});
  std::vector<float> outputs(static_cast<std::size_t>(request.batch * Net::config.outputs()));
  std::vector<double> sum;
  Index images = 0;
  for (const std::span<const float> input : split_inputs(request, request.batch * Net::config.image_values())) {
    net.forward(input, outputs, context);
    const ConstMatrixView logits = context.routing_of(static_cast<int>(first_sparse_block)).logits();
    sum.resize(static_cast<std::size_t>(logits.cols()));
    for (Index image = 0; image < logits.rows(); ++image, ++images)
      for (Index expert = 0; expert < logits.cols(); ++expert)
        sum[static_cast<std::size_t>(expert)] += logits(image, expert);
  }
  for (const Parameter& parameter : net.parameters()) {
    if (parameter.name != "router.bias") continue;
    std::vector<float> bias = parameter.values();
    for (std::size_t expert = 0; expert < bias.size(); ++expert)
      bias[expert] -= static_cast<float>(sum[expert] / static_cast<double>(images));
    parameter.assign(bias);
  }
}

/// `model` is the network itself or a packed form of it: anything with context() and forward().
template <ModelDescription description, class Net, class Forward>
OurCase forward_case(std::shared_ptr<Net> net, std::shared_ptr<Forward> model, const Request& request) {
  constexpr VitConfig vit = description.vit;
  const auto context = std::make_shared<Context>(model->context({.images = request.batch, .threads = request.threads}));
  OurCase made;
  made.input_values = request.batch * vit.image_values();
  made.output_values = request.batch * vit.outputs();
  made.parameters = net->parameters();
  made.run = [net, model, context](std::span<const float> input,
                                   std::span<float> output) {  // parameters point into net
    model->forward(input, output, *context);
  };
  const auto images = static_cast<double>(request.batch);
  const double moved = static_cast<double>(made.input_values + made.output_values) * sizeof(float);
  made.cost = [=, parameters = made.parameters] {
    const Index first_sparse = description.moe.placement.first(vit.depth);
    const double share =
        first_sparse < vit.depth ? share_of_used_experts(context->plan(static_cast<int>(first_sparse))) : 1.;
    return Cost{images * multiply_adds(description), moved + bytes_read(parameters, share)};
  };
  return made;
}

template <ModelDescription description>
OurCase model_case(const Request& request) {
  using Net = Model<description>;
  const auto net = std::make_shared<Net>();
  test::randomise(net->parameters(), 7);
  if constexpr (description.family == ModelFamily::mobile_vmoe)
    balance_router(*net, request, description.moe.placement.first(description.vit.depth));
  return in_precision(net, request, [&](auto model) { return forward_case<description>(net, model, request); });
}

/// With the trained weights that the examples ship: random ones would send most rows to few experts.
template <ModelDescription description>
OurCase trained_case(const Request& request) {
  const auto net = std::make_shared<Model<description>>();
  load(*net, MOEVIT_WEIGHTS_DIR "/" + request.name + ".safetensors");
  if (request.precision != "fp32") refuse_precision(request);
  return forward_case<description>(net, net, request);
}

}  // namespace

bool make_model(const Request& request, OurCase& made) {
  if (request.name == "vit_tiny_16")
    made = model_case<presets::vit_tiny16>(request);
  else if (request.name == "mobile_vmoe_12x192")
    made = model_case<presets::mobile_vmoe_12x192>(request);
  else if (request.name == "fashion_vmoe")
    made = trained_case<fashion_vmoe>(request);
  else if (request.name == "fashion_mobile_vmoe")
    made = trained_case<fashion_mobile_vmoe>(request);
  else if (request.name == "tiny_mobile")
    made = model_case<tiny_mobile>(request);
  else
    return false;
  return true;
}

}  // namespace moevit::bench
