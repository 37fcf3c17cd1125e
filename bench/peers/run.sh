#!/usr/bin/env bash
# Runs moevit and the engines that people use instead in alternating rounds: called by `bash bench/run.sh --peers`.
#   --case REGEX     only these cases (case/Bbatch, gemm_MxKxN)     --rounds N     rounds of each (15)
#   --threads LIST   e.g. 1,2; products and row kernels run on one thread only (1)
#   --json FILE      writes what the table says as JSON
# Debian's OpenBLAS and oneDNN are installed where missing; ONNX Runtime, OpenVINO, MKL and JAX come from PyPI into a
# virtual environment in build/. What cannot be installed is named and left out. Cores 0..threads-1 are used.
set -euo pipefail
cd "$(dirname "$0")/../.."
. cmake/dependencies.sh

case_pattern="" rounds=15 threads=1 json=""
while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || die "$1 needs a value"
  case "$1" in
    --case) case_pattern=$2 ;;
    --rounds) rounds=$2 ;;
    --threads) threads=$2 ;;
    --json) json=$2 ;;
    *) die "there is no option $1; bash bench/run.sh --help lists them" ;;
  esac
  shift 2
done

need_packages $library_packages libbenchmark-dev python3-venv dataset-fashion-mnist
for package in libopenblas-dev libdnnl-dev; do
  (need_packages "$package") || say "$package could not be installed: left out"
done
build_programs bench -DMOEVIT_BUILD_TESTS=OFF -DMOEVIT_BUILD_EXAMPLES=OFF -DMOEVIT_BUILD_PEERS=ON

venv=build/peers_venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
for package in numpy onnx onnxruntime openvino mkl jax; do
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$package" ||
    say "$package could not be installed: left out"
done
mkl=$(find "$venv/lib" -name 'libmkl_rt.so*' 2>/dev/null | sort | head -n 1 || true)

# Settings of whoever runs this must not hold a peer back.
unset XLA_FLAGS OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS MKL_ENABLE_INSTRUCTIONS MKL_NUM_THREADS ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA
programs=build/bench/bench/peers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# pinned <threads> <command>...: on as many cores, for OpenMP as well.
pinned() {
  local count=$1
  shift
  if command -v taskset >/dev/null && taskset -c "0-$((count - 1))" true 2>/dev/null; then
    OMP_NUM_THREADS=$count taskset -c "0-$((count - 1))" "$@"
  else
    say "taskset cannot pin to $count core(s) here: timings will vary more"
    OMP_NUM_THREADS=$count "$@"
  fi
}

failed=false
for count in ${threads//,/ }; do
  say "models and layers, $count thread(s)"
  pinned "$count" "$venv/bin/python" bench/peers/measure.py --ours "$programs/moevit_peers_ours" --threads "$count" \
    --rounds "$rounds" --case "$case_pattern" --out "$work/rows.jsonl" || failed=true
done
case ",$threads," in
  *,1,*)
    say "matrix products"
    pinned 1 "$programs/moevit_peers_gemm" --rounds "$rounds" --case "$case_pattern" --mkl "$mkl" >"$work/gemm.jsonl"
    python3 bench/peers/gemm_rows.py "$work/gemm.jsonl" --out "$work/rows.jsonl"
    ;;
esac
python3 bench/peers/table.py "$work/rows.jsonl" --json "$json"
! $failed || die "models and layers ended early or had other results than their peers"
