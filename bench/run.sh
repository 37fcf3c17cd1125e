#!/usr/bin/env bash
# Builds the benchmarks for this machine's instruction set and runs them on one core; on Debian it installs what is missing.
#   bash bench/run.sh [options of Google Benchmark, e.g. --benchmark_filter=router]
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/dependencies.sh

need_packages $library_packages libbenchmark-dev
build_programs bench -DMOEVIT_BUILD_TESTS=OFF -DMOEVIT_BUILD_EXAMPLES=OFF

pinned=()
if command -v taskset >/dev/null && taskset -c 0 true 2>/dev/null; then
  pinned=(taskset -c 0)
else
  say "taskset cannot pin to core 0 here: timings will vary more"
fi
exec "${pinned[@]}" build/bench/bench/moevit_bench "$@"
