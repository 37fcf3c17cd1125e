/// Training steps of ours. The first one moves the weights, so that the update can be compared as well; the others have
/// rate 0, so that everyone goes on doing the same work.
#include "fashion_models.hpp"
#include "our_case.hpp"
#include "tiny_model.hpp"
#include "training_step.hpp"

#include <moevit/io/weights.hpp>

namespace moevit::bench {
namespace {

constexpr double first_rate = 1e-3;

template <ModelDescription description>
OurCase step_case(const Request& request, const char* weights) {
  if (request.precision != "fp32") refuse_precision(request);
  const auto step = std::make_shared<TrainingStep<description>>(request.batch, request.threads);
  if (weights)
    load(step->net, std::string(MOEVIT_WEIGHTS_DIR "/") + weights);
  else
    test::randomise(step->net.parameters(), 7);
  OurCase made;
  made.input_values = request.batch * description.vit.image_values();
  made.output_values = 1;  // the loss
  made.parameters = step->net.parameters();
  made.gradients = step->gradients.parameters();
  made.run = [step, rate = first_rate](std::span<const float> input, std::span<float> output) mutable {
    output[0] = static_cast<float>(step->run(input, rate));
    rate = 0.;
  };
  const double moved = static_cast<double>(made.input_values) * sizeof(float);
  made.cost = [=, parameters = made.parameters] {
    // Weights, gradients and both moments are read and written.
    return Cost{step->multiply_adds(), moved + 8. * bytes_read(parameters, 1.)};
  };
  return made;
}

}  // namespace

bool make_training(const Request& request, OurCase& made) {
  if (request.name == "training_vit")
    made = step_case<fashion_vit>(request, nullptr);
  else if (request.name == "training_vmoe")
    made = step_case<fashion_vmoe>(request, "fashion_vmoe.safetensors");
  else if (request.name == "training_mobile_vmoe")
    made = step_case<fashion_mobile_vmoe>(request, "fashion_mobile_vmoe.safetensors");
  else if (request.name == "training_tiny_mobile")
    made = step_case<tiny_mobile>(request, nullptr);
  else
    return false;
  return true;
}

}  // namespace moevit::bench
