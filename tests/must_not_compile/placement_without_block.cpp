// expect: Vit: the placement names no block of this depth
#include <moevit/models/vmoe.hpp>

using namespace moevit;

constexpr VitConfig config{.image = 32, .patch = 8, .dim = 32, .depth = 4, .heads = 2, .hidden = 64, .classes = 10};
#ifdef MUST_NOT_COMPILE
constexpr Placement placement = blocks({7});
#else
constexpr Placement placement = blocks({3});
#endif

int main() { return VMoe<config, MoeConfig{.experts = 4, .placement = placement}>::scratch_bytes(1, 1) == 0; }
