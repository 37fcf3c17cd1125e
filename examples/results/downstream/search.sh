#!/usr/bin/env bash
# The search that SCHEDULE=long of run.sh rests on: RMoE-I with one setting changed at a time, seeds 101 to 103, validation images of
# CamVid with the Swin backbone. A line of search/SETTING/results.jsonl per run; what is there is not run again. Settings of experts
# are types: their programs are built here.
#   bash examples/results/downstream/search.sh TINY_IMAGENET CAMVID [options of train_downstream]
set -euo pipefail
upstream=${1:?the folder of Tiny ImageNet} data=${2:?the folder of CamVid}
shift 2
cd "$(dirname "$0")/../../.."
results=examples/results/downstream/search

# try SETTING PIPELINES DEFINITIONS [options]: dense pre-training is the same for all, and is taken from the first.
try() {
  local setting=$1 pipelines=$2 definitions=$3
  shift 3
  local build=build/search/${definitions:-as_it_is}
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DMOEVIT_ARCH=native -DMOEVIT_BUILD_EXAMPLES=ON \
    -DMOEVIT_DOWNSTREAM_TASKS=camvid "-DMOEVIT_DOWNSTREAM_DEFINITIONS=$definitions"
  cmake --build "$build" --target moevit_train_downstream
  mkdir -p "$results/$setting/swin"
  if [ "$setting" != base ] && [ ! -d "$results/$setting/swin/upstream-dense" ]; then
    cp -r "$results/base/swin/upstream-dense" "$results/$setting/swin"
  fi
  "$build/examples/train_downstream" "$upstream" "$data" -o "$results/$setting" --backbone swin --task camvid --pipelines "$pipelines" \
    --seeds 101,102,103 --upstream-epochs 30 --intermediate-epochs 0.6 --downstream-epochs 12 "$@" "${common[@]}"
}
common=("$@")

try base dense,rmoe-i ""
try rate-2e-3 dense,rmoe-i,rmoe-d "" --downstream-rate 2e-3
try intermediate-rate-2e-3 rmoe-i "" --intermediate-rate 2e-3
try balance-0.001 rmoe-i "" --balance 0.001
try balance-0.1 rmoe-i "" --balance 0.1
try noise-0.01 rmoe-i "" --residual-deviation 0.01
try experts-4 rmoe-i MOEVIT_DOWNSTREAM_EXPERTS=4
try experts-16 rmoe-i MOEVIT_DOWNSTREAM_EXPERTS=16
try blocks-0-1 rmoe-i MOEVIT_DOWNSTREAM_BLOCKS=0,1
try blocks-all rmoe-i MOEVIT_DOWNSTREAM_BLOCKS=0,1,2,3,4,5
try rank-4 rmoe-i MOEVIT_DOWNSTREAM_RANK=4
