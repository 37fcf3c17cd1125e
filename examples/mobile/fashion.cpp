#include "mobile/run_arm.hpp"

namespace examples::mobile {

std::vector<CompiledArm> fashion_arms() {
  constexpr Images images = Images::fashion;
  return {dense_arm<images>(), per_image_arm<images, 5, 1, 2>(), per_patch_arm<images, 5, 1, 2>()};
}

}  // namespace examples::mobile
