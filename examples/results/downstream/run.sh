#!/usr/bin/env bash
# The study of Residual MoE: its settings and the commands of all its runs. Needs the 100 classes of Tiny ImageNet as folders
# and the images of the task (CamVid, BCCD or the nuclei of the Data Science Bowl 2018, unpacked).
# Each finished pipeline of a seed is a line of results.jsonl here; what is there is not run again. Weights and logs go to
# swin/ and cvt/ beside it.
#   bash examples/results/downstream/run.sh {swin|cvt} {camvid|bccd|nuclei-masks|nuclei-boxes} TINY_IMAGENET DATA
#     [other options of train_downstream]
set -euo pipefail
backbone=${1:?which backbone} task=${2:?which task} upstream=${3:?the folder of Tiny ImageNet} data=${4:?the folder of the task}
shift 4
cd "$(dirname "$0")/../../.."
program=${TRAIN_DOWNSTREAM:-build/examples/examples/train_downstream}
# As many epochs as fit about 5,000 images: fine-tuning is short, as it is where Residual MoE is for.
case $task in
  camvid | nuclei-masks | nuclei-boxes) epochs=12 ;;
  bccd) epochs=24 ;;
  *) echo "run.sh: no task '$task'" >&2 && exit 2 ;;
esac
"$program" "$upstream" "$data" -o examples/results/downstream --backbone "$backbone" --task "$task" \
  --upstream-epochs 10 --intermediate-epochs 0.25 --downstream-epochs $epochs \
  --seeds 1,2,3,4,5 --test "$@"
