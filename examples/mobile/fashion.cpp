#include "mobile/run_arm.hpp"

namespace examples::mobile {

#ifdef MOEVIT_STUDY_FASHION
std::vector<CompiledArm> fashion_arms() {
  std::vector<CompiledArm> arms = routing_arms<Images::fashion>();
#ifdef MOEVIT_ABLATION_MODELS
  add_ablation_arms<Images::fashion, 2, 5, 10>(arms);
#endif
  return arms;
}
#else
std::vector<CompiledArm> fashion_arms() { return {}; }
#endif

}  // namespace examples::mobile
