// expect: VitConfig: dim must be a multiple of heads, or head_width be given
#include <moevit/models/vmoe.hpp>

using namespace moevit;

#ifdef MUST_NOT_COMPILE
constexpr Index head_width = 0;
#else
constexpr Index head_width = 16;
#endif
constexpr VitConfig config{
    .image = 32, .patch = 8, .dim = 32, .depth = 1, .heads = 3, .hidden = 64, .classes = 10, .head_width = head_width};

int main() { return Vit<config>::scratch_bytes(1, 1) == 0; }
