#!/usr/bin/env bash
# The study of Residual MoE: its settings, chosen on validation images, and the commands of all its runs. Needs the 100 classes
# of Tiny ImageNet as folders and the images of the task (CamVid, BCCD or the nuclei of the Data Science Bowl 2018, unpacked).
# Each finished pipeline of a seed is a line of results.jsonl here; what is there is not run again. Weights and logs go to
# swin/ and cvt/ beside it.
#   bash examples/results/downstream/run.sh {swin|cvt} {camvid|bccd|nuclei-masks|nuclei-boxes} TINY_IMAGENET DATA
#     [other options of train_downstream]
set -euo pipefail
backbone=${1:?which backbone} task=${2:?which task} upstream=${3:?the folder of Tiny ImageNet} data=${4:?the folder of the task}
shift 4
cd "$(dirname "$0")/../../.."
program=${TRAIN_DOWNSTREAM:-build/examples/examples/train_downstream}
case $task in
  camvid) settings=() ;;
  bccd) settings=() ;;
  nuclei-masks) settings=() ;;
  nuclei-boxes) settings=() ;;
  *) echo "run.sh: no task '$task'" >&2 && exit 2 ;;
esac
"$program" "$upstream" "$data" -o examples/results/downstream --backbone "$backbone" --task "$task" \
  --upstream-epochs 10 --intermediate-epochs 0.25 "${settings[@]}" --seeds 1,2,3,4,5 --test "$@"
