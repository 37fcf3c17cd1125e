// expect: ExpertBank: the expert must have dim, block_rows, scratch_bytes(rows) and forward(x, y, arena)
#include <moevit/models/vmoe.hpp>

using namespace moevit;

struct Doubling {
  static constexpr Index dim = 32;
  static constexpr Index block_rows = 64;
  static constexpr Index scratch_bytes(Index) { return 0; }
#ifndef MUST_NOT_COMPILE
  void forward(ConstMatrixView x, MatrixView y, Arena&) const { y = 2.f * x; }
#endif
};

int main() { return ExpertBank<Doubling>(4).experts() != 4; }
