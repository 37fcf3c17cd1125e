#!/usr/bin/env bash
# Builds the benchmarks for this machine's instruction set and runs them on core 0; on Debian it installs what is missing.
# Every case is compared with plain loops before it is timed; one with a wrong result is not timed, and the script fails.
#   bash bench/run.sh                                      all of them, about five minutes
#   bash bench/run.sh --benchmark_filter=routing           a family: gemm softmax layer_norm epilogue attention_core
#                                                          routing dispatch experts blocks models training threads
#   bash bench/run.sh --cores=0,1 --benchmark_filter=scaling
#                                                          two threads against one, which needs two cores
#   bash bench/run.sh --benchmark_list_tests               the names of all cases
#   bash bench/run.sh --benchmark_repetitions=5            any other option of Google Benchmark, too
#   bash bench/run.sh --peers [--case REGEX] [--rounds N] [--threads 1,2] [--json FILE]
#                                                          moevit against ONNX Runtime, OpenVINO, JAX (training steps,
#                                                          too: --case training_) and, for products, Eigen, OpenBLAS,
#                                                          oneDNN and MKL, in alternating rounds
#   bash bench/run.sh --roofline FILE.svg                  kernels, layers and models under the roofs of this machine
#   bash bench/run.sh --curves FILE.svg                    how cost grows with experts, tokens, capacity, batch, size
# Columns: Time is the mean time that passed, CPU the mean time computed. GFLOP/s (two operations per multiply-add, of the
# rows really computed), GB/s and ktokens/s are medians over the iterations, of the time computed; of_peak_% compares with
# `peak`, the GFLOP/s of multiply-adds in registers measured right before the case; memory_ratio: what a training pass
# allocates over what its saved activations need. On a shared machine, differences below
# 10 % mean nothing. The warning about a library built as DEBUG means Debian's Google Benchmark, not moevit.
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/dependencies.sh

for argument in "$@"; do
  if [ "$argument" = --help ] || [ "$argument" = -h ]; then
    sed -n '2,/^set /{/^# \{0,1\}/s///p}' bench/run.sh
    exit 0
  fi
done

case "${1:-}" in
  --roofline | --curves) exec bash bench/pictures.sh "$@" ;;
esac
peers=false cores=0 others=()
for argument in "$@"; do
  case "$argument" in
    --peers) peers=true ;;
    --cores=*) cores=${argument#*=} ;;
    *) others+=("$argument") ;;
  esac
done
if $peers; then exec bash bench/peers/run.sh "${others[@]}"; fi

need_packages $library_packages libbenchmark-dev
build_programs bench -DMOEVIT_BUILD_TESTS=OFF -DMOEVIT_BUILD_EXAMPLES=OFF -DMOEVIT_BUILD_PEERS=OFF

pinned=()
if command -v taskset >/dev/null && taskset -c "$cores" true 2>/dev/null; then
  pinned=(taskset -c "$cores")
else
  say "taskset cannot pin to core $cores here: timings will vary more"
fi
exec "${pinned[@]}" build/bench/bench/moevit_bench --benchmark_counters_tabular=true "${others[@]}"
