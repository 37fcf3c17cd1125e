#!/usr/bin/env bash
# Configures, builds and runs all tests; on Debian it installs what is missing. Everything goes below build/.
#   bash tests/run.sh               every cell
#   bash tests/run.sh --quick       only the first cell: g++, this machine's instruction set
#   bash tests/run.sh --cells LIST  these cells: gcc clang sanitizers aarch64 newest
#   bash tests/run.sh --golden DIR  only the golden tests, on the manifests in DIR (several: DIR:DIR)
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/dependencies.sh

cells="gcc clang sanitizers aarch64 newest"
golden=""
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) cells="gcc" ;;
    --cells) cells="${2:?--cells needs a list}" && shift ;;
    --golden) golden="${2:?--golden needs a directory}" && shift ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
  shift
done
build="$PWD/build/tests"
jobs=$(nproc)

# build_cell <name> <cmake arguments>...: configures and builds one cell; its tests are called <name>/...
build_cell() {
  local cell=$1 start=$SECONDS
  shift
  say "$cell: configuring and building"
  cmake -S . -B "$build/$cell" -G Ninja "-DMOEVIT_TEST_PREFIX=$cell/" "$@" >"$build/$cell.log" 2>&1 ||
    { cat "$build/$cell.log" && die "$cell: cmake failed"; }
  cmake --build "$build/$cell" --parallel "$jobs" >"$build/$cell.log" 2>&1 ||
    { cat "$build/$cell.log" && die "$cell: the build failed"; }
  say "$cell: built in $((SECONDS - start)) s"
}

# Whether a cell whose tools are absent may be left out: on a user's machine, with a message; never under CI.
skip_cell() {
  [ -z "${CI:-}" ] || die "$1: $2"
  say "skipped: $1: $2"
}

library_only="-DMOEVIT_BUILD_EXAMPLES=OFF -DMOEVIT_BUILD_BENCHMARKS=OFF -DMOEVIT_INSTALL=OFF"

gcc_packages="catch2 pkg-config libcli11-dev libbenchmark-dev"
gcc_cell() { build_cell gcc -DCMAKE_CXX_COMPILER=g++; }

clang_packages="clang"
clang_cell() {
  command -v clang++ >/dev/null || { skip_cell clang "there is no clang++" && return 1; }
  build_cell clang -DCMAKE_CXX_COMPILER=clang++ $library_only "-DMOEVIT_TEST_FOLDERS=headers;golden"
}

# Address and undefined behaviour sanitizers, without the long cases.
sanitizers_packages=""
sanitizers_cell() {
  build_cell sanitizers -DCMAKE_CXX_COMPILER=g++ $library_only -DMOEVIT_SANITIZE=address,undefined \
    -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1" "-DMOEVIT_TEST_SPEC=~[large]" \
    "-DMOEVIT_TEST_FOLDERS=core;simd;layers;moe;models;io;golden"
}

# The kernels and the routing on 64-bit ARM, emulated.
aarch64_packages="g++-aarch64-linux-gnu qemu-user"
aarch64_cell() {
  command -v aarch64-linux-gnu-g++ qemu-aarch64 >/dev/null ||
    { skip_cell aarch64 "aarch64-linux-gnu-g++ or qemu-aarch64 is absent" && return 1; }
  build_cell aarch64 -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/toolchains/aarch64-linux-gnu.cmake" $library_only \
    "-DMOEVIT_TEST_SPEC=~[large]" "-DMOEVIT_TEST_FOLDERS=simd;moe"
}

# The newest Eigen and xsimd that the Python package index carries (eigency, pythran), instead of Debian's.
newest_packages="python3-pip ca-certificates"
newest_cell() {
  local headers="$build/newest-headers" wheel
  if [ ! -d "$headers" ]; then
    rm -rf "$headers.part"
    python3 -m pip download --quiet --no-deps --only-binary :all: -d "$headers.part" eigency pythran ||
      { skip_cell newest "the Python package index gave no eigency and pythran" && return 1; }
    for wheel in "$headers.part"/*.whl; do python3 -m zipfile -e "$wheel" "$headers.part"; done
    mv "$headers.part" "$headers"
  fi
  build_cell newest -DCMAKE_CXX_COMPILER=g++ $library_only "-DMOEVIT_EIGEN_INCLUDE_DIR=$headers/eigency/eigen" \
    "-DMOEVIT_XSIMD_INCLUDE_DIR=$headers/pythran" "-DMOEVIT_TEST_FOLDERS=core;simd;moe"
}

# Only the golden tests, on other manifests.
run_golden() {
  local directories="" directory
  IFS=: read -ra given <<<"$golden"
  for directory in "${given[@]}"; do
    [ -f "$directory/manifest.json" ] || die "$directory has no manifest.json"
    directories+="${directories:+:}$(cd "$directory" && pwd)"
  done
  export MOEVIT_GOLDEN_DIR="$directories"
  need_packages $library_packages catch2
  build_cell golden -DCMAKE_CXX_COMPILER=g++ $library_only "-DMOEVIT_GOLDEN_DIR=$directories" -DMOEVIT_TEST_FOLDERS=golden
  ctest --test-dir "$build/golden" --parallel "$jobs" --no-tests=error --output-on-failure
}

run_cells() {
  local cell packages="" built=""
  for cell in $cells; do
    declare -F "${cell}_cell" >/dev/null || die "there is no cell '$cell'"
    packages+=" $(eval "echo \$${cell}_packages")"
  done
  need_packages $library_packages catch2 $packages
  for cell in $cells; do
    "${cell}_cell" && built+=" $cell"
  done
  echo "subdirs($built)" >"$build/CTestTestfile.cmake"
  say "running the tests of$built"
  ctest --test-dir "$build" --parallel "$jobs" --no-tests=error --output-on-failure
}

mkdir -p "$build"
if [ -n "$golden" ]; then run_golden; else run_cells; fi
