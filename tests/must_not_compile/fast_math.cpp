// expect: moevit: -ffast-math changes results and breaks the handling of infinities; compile without it
// failing flags: -ffast-math
#include <moevit/simd/simd.hpp>

int main() {}
