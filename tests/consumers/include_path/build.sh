# Usage: build.sh <program.cpp>; no build system, nothing installed.
set -eu
"${CXX:-g++}" -std=c++20 -O2 -Wall -Wextra -I "$MOEVIT_SOURCE_DIR/include" -isystem "$EIGEN_INCLUDE_DIR" "$1" -o program \
  -ljpeg -lpng -lz
