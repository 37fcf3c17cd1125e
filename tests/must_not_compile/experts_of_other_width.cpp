// expect: SparseMlp: router and experts must have the same width
#include <moevit/models/vmoe.hpp>

using namespace moevit;

constexpr VitConfig config{.image = 32, .patch = 8, .dim = 32, .depth = 4, .heads = 2, .hidden = 64, .classes = 10};
#ifdef MUST_NOT_COMPILE
constexpr Index expert_dim = 16;
#else
constexpr Index expert_dim = 32;
#endif

int main() {
  return Vit<config, SparseMlp<TopKRouter<32, 4>, ExpertBank<Mlp<expert_dim, 64>>>>::scratch_bytes(1, 1) == 0;
}
