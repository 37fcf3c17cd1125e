#include "mobile/run_arm.hpp"

namespace examples::mobile {

std::vector<CompiledArm> fashion_arms() { return arms_for<Images::fashion, 2, 5, 10>(); }

}  // namespace examples::mobile
