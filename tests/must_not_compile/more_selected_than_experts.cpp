// expect: MoeConfig: selected must be between 1 and the number of experts
#include <moevit/models/vmoe.hpp>

using namespace moevit;

constexpr VitConfig config{.image = 32, .patch = 8, .dim = 32, .depth = 4, .heads = 2, .hidden = 64, .classes = 10};
#ifdef MUST_NOT_COMPILE
constexpr Index selected = 5;
#else
constexpr Index selected = 4;
#endif

int main() { return VMoe<config, MoeConfig{.experts = 4, .selected = selected}>::scratch_bytes(1, 1) == 0; }
