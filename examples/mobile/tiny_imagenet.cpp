#include "mobile/run_arm.hpp"

namespace examples::mobile {

#ifdef MOEVIT_STUDY_TINY_IMAGENET
std::vector<CompiledArm> tiny_imagenet_arms() {
  std::vector<CompiledArm> arms = routing_arms<Images::tiny_imagenet>();
#ifdef MOEVIT_ABLATION_MODELS
  add_ablation_arms<Images::tiny_imagenet, 2, 5, 20>(arms);
#endif
  return arms;
}
#else
std::vector<CompiledArm> tiny_imagenet_arms() { return {}; }
#endif

}  // namespace examples::mobile
