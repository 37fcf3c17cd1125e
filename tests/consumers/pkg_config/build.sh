# Usage: build.sh <program.cpp>; the installed moevit.pc is on PKG_CONFIG_PATH.
set -eu
"${CXX:-g++}" -std=c++20 -O2 "$1" -o program $(pkg-config --cflags --libs moevit libjpeg libpng zlib)
