// expect: MoeConfig: experts must split evenly over the members of the ensemble
#include <moevit/models/vmoe.hpp>

using namespace moevit;

constexpr VitConfig config{.image = 32, .patch = 8, .dim = 32, .depth = 4, .heads = 2, .hidden = 64, .classes = 10};
#ifdef MUST_NOT_COMPILE
constexpr Index members = 3;
#else
constexpr Index members = 2;
#endif

int main() { return VMoe<config, MoeConfig{.experts = 4, .members = members}>::scratch_bytes(1, 1) == 0; }
