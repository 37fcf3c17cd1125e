#!/usr/bin/env bash
# The study of Residual MoE: its settings and the commands of all its runs. Needs the 100 classes of Tiny ImageNet as folders
# and the images of the task (CamVid, BCCD or the nuclei of the Data Science Bowl 2018, unpacked).
# Each finished pipeline of a seed is a line of results.jsonl here; what is there is not run again. Weights and logs go to
# swin/ and cvt/ beside it.
#   bash examples/results/downstream/run.sh {swin|cvt} {camvid|bccd|nuclei-masks|nuclei-boxes} TINY_IMAGENET DATA
#     [other options of train_downstream]
# SCHEDULE=long in front of it: pre-trained three times as long, with the learning rate that the search chose on validation
# images (search.sh), seeds of its own and results in long/.
set -euo pipefail
backbone=${1:?which backbone} task=${2:?which task} upstream=${3:?the folder of Tiny ImageNet} data=${4:?the folder of the task}
shift 4
cd "$(dirname "$0")/../../.."
program=${TRAIN_DOWNSTREAM:-build/examples/examples/train_downstream}
output=${OUTPUT:-examples/results/downstream}
# As many epochs as fit about 5,000 images: fine-tuning is short, as it is where Residual MoE is for.
case $task in
  camvid | nuclei-masks | nuclei-boxes) epochs=12 ;;
  bccd) epochs=24 ;;
  *) echo "run.sh: no task '$task'" >&2 && exit 2 ;;
esac
case ${SCHEDULE:-short} in
  short) schedule=(--upstream-epochs 10 --intermediate-epochs 0.25 --seeds 1,2,3,4,5) ;;
  long) schedule=(--upstream-epochs 30 --intermediate-epochs 0.6 --downstream-rate 2e-3 --seeds 11,12,13,14,15) output+=/long ;;
  *) echo "run.sh: SCHEDULE is short or long, not '$SCHEDULE'" >&2 && exit 2 ;;
esac
"$program" "$upstream" "$data" -o "$output" --backbone "$backbone" --task "$task" "${schedule[@]}" \
  --downstream-epochs $epochs --test "$@"
