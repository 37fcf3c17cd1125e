// expect: Vit: a router for the whole model needs sparse blocks that are the last ones without a gap
#include <moevit/models/vmoe.hpp>

using namespace moevit;

constexpr VitConfig config{.image = 32, .patch = 8, .dim = 32, .depth = 4, .heads = 2, .hidden = 64, .classes = 10};
#ifdef MUST_NOT_COMPILE
constexpr Placement placement = last_odd(2);
#else
constexpr Placement placement = last(2);
#endif

int main() { return MobileVMoe<config, MoeConfig{.experts = 4, .placement = placement}>::scratch_bytes(1, 1) == 0; }
