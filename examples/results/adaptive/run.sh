#!/usr/bin/env bash
# The adaptive-compute study on CIFAR-10: a V-MoE with four sparse blocks and 64 tokens, trained with the authors' recipe in
# small, then measured with less and less capacity on the test images. What is finished (seed*.jsonl here) is not run again;
# weights and logs go to RUNS.
#   bash examples/results/adaptive/run.sh CIFAR10 RUNS [seeds ...]
set -euo pipefail
data=${1:?folder of CIFAR-10} runs=${2:?folder for weights and logs}
shift 2
cd "$(dirname "$0")/../../.."
programs=${PROGRAMS:-build/examples/examples} results=examples/results/adaptive
[ $# -gt 0 ] || set -- 1 2 3 4 5 6 7 8
for seed in "$@"; do
  [ -f "$results/seed$seed.jsonl" ] && continue
  "$programs/train" "$data" -o "$runs/seed$seed" --model vmoe4 --images 32x32x3 --seed "$seed" --steps 2400 --batch 64 \
    --noise 1 --capacity 1.05 --flip 0.5 --crop-padding 4 --learning-rate 1.5e-3 --warmup 150 --threads 1
  "$programs/adaptive_compute" "$data" --split test --validation 0 -w "$runs/seed$seed/weights.safetensors" \
    -o "$runs/seed$seed/adaptive"
  cp "$runs/seed$seed/adaptive/adaptive.jsonl" "$results/seed$seed.jsonl"
done
"$programs/adaptive_summary" "$results"/seed*.jsonl --charts "$results/adaptive.svg"
