#include "mobile/arms.hpp"

#include <moevit/core/error.hpp>

namespace examples::mobile {

namespace {

std::vector<CompiledArm> arms_of(Images images) {
  switch (images) {
    case Images::fashion:
      return fashion_arms();
    case Images::cifar:
      return cifar_arms();
    case Images::tiny_imagenet:
      return tiny_imagenet_arms();
  }
  return {};
}

bool fits(const CompiledArm& compiled, const Shape& shape) {
  if (shape.arm == Arm::dense) return compiled.is_dense;
  return !compiled.is_dense && compiled.is_per_image == (shape.arm != Arm::per_token) &&
         compiled.experts == shape.experts && compiled.selected == shape.selected && compiled.layers == shape.layers;
}

std::string text_of(const CompiledArm& compiled) {
  if (compiled.is_dense) return "dense";
  return std::string(compiled.is_per_image ? "per image" : "per token") + " with " + std::to_string(compiled.experts) +
         " experts, k = " + std::to_string(compiled.selected) + ", " + std::to_string(compiled.layers) + " layers";
}

}  // namespace

std::string name_of(Arm arm) {
  switch (arm) {
    case Arm::dense:
      return "dense";
    case Arm::super_class:
      return "super-class";
    case Arm::end_to_end:
      return "end-to-end";
    case Arm::random:
      return "random";
    case Arm::per_token:
      return "per-token";
    case Arm::oracle:
      return "oracle";
  }
  return "";
}

ArmResult train_arm(Images images, const ArmRequest& request, const StudyImages& data,
                    moevit::TrainingMonitor& monitor) {
  std::string known;
  for (const CompiledArm& compiled : arms_of(images)) {
    if (fits(compiled, request.shape)) return compiled.run(request, data, monitor);
    known += (known.empty() ? "" : "; ") + text_of(compiled);
  }
  const Shape& shape = request.shape;
  moevit::fail("arm ", name_of(shape.arm), ": no model with ", shape.experts, " experts, k = ", shape.selected, ", ",
               shape.layers, " layers is compiled for these images, only: ", known);
}

}  // namespace examples::mobile
