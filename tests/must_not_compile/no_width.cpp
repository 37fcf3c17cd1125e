// expect: VitConfig: image, patch, channels, dim, depth, heads and hidden must be positive
#include <moevit/models/vmoe.hpp>

using namespace moevit;

#ifdef MUST_NOT_COMPILE
constexpr Index depth = 0;
#else
constexpr Index depth = 1;
#endif
constexpr VitConfig config{.image = 32, .patch = 8, .dim = 32, .depth = depth, .heads = 2, .hidden = 64, .classes = 10};

int main() { return Vit<config>::scratch_bytes(1, 1) == 0; }
