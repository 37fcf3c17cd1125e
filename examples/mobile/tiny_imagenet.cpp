#include "mobile/run_arm.hpp"

namespace examples::mobile {

std::vector<CompiledArm> tiny_imagenet_arms() { return arms_for<Images::tiny_imagenet, 2, 5, 20>(); }

}  // namespace examples::mobile
