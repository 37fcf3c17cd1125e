/// Swin-T and CvT-13 of ours, from normalised images of 224 pixels to logits.
#include "in_precision.hpp"
#include "our_case.hpp"

#include <moevit/models/cvt_presets.hpp>
#include <moevit/models/swin_presets.hpp>

namespace moevit::bench {
namespace {

template <ModelDescription description>
OurCase hierarchical_case(const Request& request) {
  using Net = Model<description>;
  const auto net = std::make_shared<Net>();
  test::randomise(net->parameters(), 7);
  return in_precision(net, request, [&](auto model) {
    const auto context =
        std::make_shared<Context>(model->context({.images = request.batch, .threads = request.threads}));
    OurCase made{.input_values = request.batch * Net::config.image_values(),
                 .output_values = request.batch * Net::config.outputs(),
                 .parameters = net->parameters()};
    made.run = [net, model, context](std::span<const float> input, std::span<float> output) {
      model->forward(input, output, *context);
    };
    const Cost cost{
        static_cast<double>(request.batch) * multiply_adds(description),
        bytes_read(made.parameters, 1.) + static_cast<double>(made.input_values + made.output_values) * sizeof(float)};
    made.cost = [cost] { return cost; };
    return made;
  });
}

}  // namespace

bool make_hierarchical(const Request& request, OurCase& made) {
  if (request.name == "swin_tiny") return made = hierarchical_case<presets::swin_t>(request), true;
  if (request.name == "cvt_13") return made = hierarchical_case<presets::cvt_13>(request), true;
  return false;
}

}  // namespace moevit::bench
