// expect: VitConfig: the image must be a whole number of patches high and wide
#include <moevit/models/vmoe.hpp>

using namespace moevit;

#ifdef MUST_NOT_COMPILE
constexpr Index patch = 12;
#else
constexpr Index patch = 8;
#endif
constexpr VitConfig config{.image = 32, .patch = patch, .dim = 32, .depth = 1, .heads = 2, .hidden = 64, .classes = 10};

int main() { return Vit<config>::scratch_bytes(1, 1) == 0; }
