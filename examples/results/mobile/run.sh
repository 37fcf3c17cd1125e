#!/usr/bin/env bash
# The study of Mobile V-MoEs: its settings, chosen on validation images, and the commands of all its runs. Needs CIFAR-10 and
# the 100 classes of Tiny ImageNet as folders of JPEG images with their splits. Each finished arm is a line of results.jsonl
# here. All arms begin from scratch, as the paper's do, and see the same number of images, about 1.35 million (Fashion-MNIST:
# 1.1). What is there is not run again, so the study can be continued anywhere. Weights and logs go to seed*/ beside it.
#   bash examples/results/mobile/run.sh {fashion|cifar|tiny_imagenet} DATA [--threads N] [other options of ablate]
#   TABLES="experts layers selected lambda" ABLATE=PROGRAM bash examples/results/mobile/run.sh ... --seeds 1,2,3,4
#     the ablation tables; PROGRAM: ablate of a build with -DMOEVIT_ABLATION_MODELS=ON, which takes a few minutes more
set -euo pipefail
name=${1:?which data set} data=${2:?its folder}
shift 2
cd "$(dirname "$0")/../../.."
ablate=${ABLATE:-build/examples/examples/ablate}
case $name in
  fashion) settings=(--images fashion --epochs 20 --crop-padding 1) ;;
  cifar) settings=(--images cifar --epochs 30) ;;
  tiny_imagenet) settings=(--images tiny-imagenet --epochs 60) ;;
  *) echo "run.sh: no data set '$name'" >&2 && exit 2 ;;
esac
for table in ${TABLES:-main routing}; do
  "$ablate" "$data" -o "examples/results/mobile/$name" "${settings[@]}" --learning-rate 3e-3 --test --table $table "$@"
done
