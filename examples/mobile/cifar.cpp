#include "mobile/run_arm.hpp"

namespace examples::mobile {

#ifdef MOEVIT_STUDY_CIFAR
std::vector<CompiledArm> cifar_arms() {
  std::vector<CompiledArm> arms = routing_arms<Images::cifar>();
#ifdef MOEVIT_ABLATION_MODELS
  add_ablation_arms<Images::cifar, 2, 3, 10>(arms);
#endif
  return arms;
}
#else
std::vector<CompiledArm> cifar_arms() { return {}; }
#endif

}  // namespace examples::mobile
