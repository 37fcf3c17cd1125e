#!/usr/bin/env bash
# Draws the roofline or the cost curves: called by `bash bench/run.sh --roofline FILE.svg` and `--curves FILE.svg`.
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/dependencies.sh

[ $# -eq 2 ] || die "expected --roofline FILE.svg or --curves FILE.svg"
need_packages $library_packages libbenchmark-dev python3
build_programs bench -DMOEVIT_BUILD_TESTS=OFF -DMOEVIT_BUILD_EXAMPLES=OFF -DMOEVIT_BUILD_PEERS=ON
pinned=()
if command -v taskset >/dev/null && taskset -c 0 true 2>/dev/null; then pinned=(taskset -c 0); fi
export PYTHONPATH="$PWD/bench"
case "$1" in
  --roofline)
    "${pinned[@]}" python3 bench/peers/roofline.py --ours build/bench/bench/peers/moevit_peers_ours "$2"
    ;;
  --curves)
    points=$(mktemp)
    trap 'rm -f "$points"' EXIT
    "${pinned[@]}" build/bench/bench/curves/moevit_curves | tee "$points"
    python3 bench/curves/draw.py "$points" "$2"
    ;;
esac
say "$2 is written"
