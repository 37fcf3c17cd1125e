// expect: SparseBlock: the experts must have the model's width dim
#include <moevit/models/vmoe.hpp>

using namespace moevit;

#ifdef MUST_NOT_COMPILE
constexpr Index dim = 64;
#else
constexpr Index dim = 32;
#endif
constexpr VitConfig config{.image = 32, .patch = 8, .dim = dim, .depth = 4, .heads = 2, .hidden = 64, .classes = 10};

int main() {
  const Vit<config, SparseMlp<TopKRouter<32, 4>, ExpertBank<Mlp<32, 64>>>> net;
  return net.parameters().empty();
}
