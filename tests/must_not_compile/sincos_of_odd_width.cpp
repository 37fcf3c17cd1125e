// expect: PatchEmbedding: sincos2d positions need a dim that is a multiple of 4 and at least 8
#include <moevit/models/vmoe.hpp>

using namespace moevit;

#ifdef MUST_NOT_COMPILE
constexpr Index dim = 30;
#else
constexpr Index dim = 32;
#endif
constexpr VitConfig config{.image = 32,
                           .patch = 8,
                           .dim = dim,
                           .depth = 1,
                           .heads = 2,
                           .hidden = 64,
                           .classes = 10,
                           .positions = Positions::sincos2d};

int main() { return Vit<config>::scratch_bytes(1, 1) == 0; }
