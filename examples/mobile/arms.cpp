#include "mobile/arms.hpp"
#include "mobile/run_arm.hpp"

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
  if (compiled.family != family_of(shape.arm)) return false;
  return shape.arm == Arm::dense ||
         (compiled.experts == shape.experts && compiled.selected == shape.selected && compiled.layers == shape.layers);
}

std::string text_of(const CompiledArm& compiled) {
  return std::to_string(compiled.experts) + " experts, k = " + std::to_string(compiled.selected) + ", " +
         std::to_string(compiled.layers) + " layers";
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

Family family_of(Arm arm) {
  switch (arm) {
    case Arm::dense:
      return Family::dense;
    case Arm::end_to_end:
      return Family::per_image_end_to_end;
    case Arm::per_token:
      return Family::per_patch;
    case Arm::super_class:
    case Arm::random:
    case Arm::oracle:
      return Family::per_image;
  }
  return {};
}

moevit::RouterTraining router_training(const ArmRequest& request) {
  moevit::RouterTraining router;
  router.losses = {.importance = 0, .load = 0};  // Mobile V-MoE needs no balancing
  switch (request.shape.arm) {
    case Arm::dense:
      break;
    case Arm::super_class:
    case Arm::oracle:  // its router learns too, though nobody asks it, so that it can be compared
      router.super_classes = request.super_classes;
      router.super_class_weight = request.lambda;
      router.routing =
          request.shape.arm == Arm::oracle ? moevit::ImageRouting::super_class : moevit::ImageRouting::learned;
      break;
    case Arm::end_to_end:
      router.losses.importance = request.balance;
      break;
    case Arm::random:
      router.routing = moevit::ImageRouting::random;
      break;
    case Arm::per_token:  // V-MoE's recipe
      router.noise_std = 1;
      router.losses.importance = router.losses.load = request.balance;
      break;
  }
  return router;
}

ArmResult train_arm(Images images, const ArmRequest& request, const StudyImages& data,
                    moevit::TrainingMonitor& monitor) {
  const Shape& shape = request.shape;
  const std::vector<CompiledArm> arms = arms_of(images);
  if (arms.empty()) moevit::fail("no models for these images are compiled: build with them in -DMOEVIT_STUDY_IMAGES=");
  std::string known;
  for (const CompiledArm& compiled : arms) {
    if (fits(compiled, shape)) return compiled.run(request, data, monitor);
    if (compiled.family == family_of(shape.arm)) known += (known.empty() ? "" : "; ") + text_of(compiled);
  }
  moevit::fail("arm ", name_of(shape.arm), ": no model with ", shape.experts, " experts, k = ", shape.selected, ", ",
               shape.layers, " layers is compiled for these images, only: ", known,
               " (the paper's ablations: build with -DMOEVIT_ABLATION_MODELS=ON)");
}

}  // namespace examples::mobile
