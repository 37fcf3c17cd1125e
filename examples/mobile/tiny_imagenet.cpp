#include "mobile/run_arm.hpp"

namespace examples::mobile {

// The paper's ablations: experts, layers and k around 10, 2 and 1.
std::vector<CompiledArm> tiny_imagenet_arms() {
  constexpr Images images = Images::tiny_imagenet;
  return {dense_arm<images>(),
          per_image_arm<images, 2, 1, 2>(),
          per_image_arm<images, 5, 1, 2>(),
          per_image_arm<images, 10, 1, 2>(),
          per_image_arm<images, 20, 1, 2>(),
          per_image_arm<images, 10, 1, 1>(),
          per_image_arm<images, 10, 1, 3>(),
          per_image_arm<images, 10, 2, 2>(),
          per_image_arm<images, 10, 4, 2>(),
          per_patch_arm<images, 10, 1, 2>()};
}

}  // namespace examples::mobile
