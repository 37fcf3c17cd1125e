#include "mobile/run_arm.hpp"

namespace examples::mobile {

std::vector<CompiledArm> cifar_arms() { return arms_for<Images::cifar, 2, 3, 10>(); }

}  // namespace examples::mobile
