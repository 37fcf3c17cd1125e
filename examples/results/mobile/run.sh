#!/usr/bin/env bash
# The study of Mobile V-MoEs: its settings, chosen on validation images, and the commands of all its runs. Needs CIFAR-10 and
# the 100 classes of Tiny ImageNet as folders of JPEG images with their splits. Each finished arm is a line of results.jsonl
# here; all arms begin with the dense model's weights, since from scratch every expert learns from a part of too few
# images; the dense model gets the same further epochs. What is there is not run again, so the study can be continued anywhere. Weights and logs go to seed*/ beside it.
#   bash examples/results/mobile/run.sh {fashion|cifar|tiny_imagenet} DATA [--threads N] [other options of ablate]
set -euo pipefail
name=${1:?which data set} data=${2:?its folder}
shift 2
cd "$(dirname "$0")/../../.."
ablate=${ABLATE:-build/examples/examples/ablate}
case $name in
  # 17 tokens of width 16. abandoned/ has one seed from scratch, with a router of 96 % and nothing gained.
  fashion)
    run() { "$ablate" "$data" --images fashion -o examples/results/mobile/fashion --epochs 10 --upcycled-epochs 5 \
      --learning-rate 3e-3 --crop-padding 1 --test "$@"; }
    run --table main --upcycled "$@"
    run --table routing --upcycled "$@"
    ;;
  cifar)
    run() { "$ablate" "$data" --images cifar -o examples/results/mobile/cifar --epochs 16 --upcycled-epochs 8 --test "$@"; }
    run --table main --upcycled "$@"
    run --table routing --upcycled "$@"
    ;;
  tiny_imagenet)
    run() { "$ablate" "$data" --images tiny-imagenet -o examples/results/mobile/tiny_imagenet --epochs 32 --upcycled-epochs 12 --test "$@"; }
    run --table main --upcycled "$@"
    run --table routing --upcycled "$@"
    ;;
  *) echo "run.sh: no data set '$name'" >&2 && exit 2 ;;
esac
