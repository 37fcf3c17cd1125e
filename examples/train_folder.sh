#!/usr/bin/env bash
# Trains a classifier on your own images and shows how it routes them. Model types have their number of classes at compile
# time, so this writes the type for your classes, builds the programs with it, trains, and writes the routing report.
#   bash examples/train_folder.sh FOLDER OUTPUT [--preset NAME] [options of train ...]
# FOLDER has one folder of images per class, perhaps below FOLDER/train. Into OUTPUT go own_model.hpp (the type, for your
# program), what train writes (best.safetensors for classify and for your program), and report.html.
# Presets: small_vit, small_vmoe (the default), small_mobile_vmoe, for 32 x 32 pixels, and those of
# include/moevit/models/presets.hpp, such as vit_tiny16, mobile_vmoe_6x64, vmoe_s32_last2, for 224 x 224.
# What a run took up it goes on with: the same command again continues one that was interrupted.
set -euo pipefail
help() { sed -n '2,10s/^# \{0,1\}//p' "$0"; }
case "${1:-}" in -h | --help) help && exit 0 ;; esac
[ $# -ge 2 ] || { help >&2 && exit 2; }
images=$(realpath "$1") output=$(realpath -m "$2") preset=small_vmoe
shift 2
if [ "${1:-}" = --preset ]; then
  preset=${2:?--preset needs a name}
  shift 2
fi
cd "$(dirname "$0")/.."
. cmake/dependencies.sh
[ -d "$images" ] || die "$images is no folder"
split=(--whole) classes=$images
[ -d "$images/train" ] && split=(--split train) && classes=$images/train
count=$(find -L "$classes" -mindepth 1 -maxdepth 1 -type d | wc -l)
[ "$count" -ge 2 ] || die "$classes: expected a folder of images for each of at least 2 classes, found $count folders"

mkdir -p "$output"
model="#pragma once

#include <common/own_presets.hpp>

namespace examples {
using OwnModel = OwnModelOf<own_presets::$preset, $count>;
}"
[ "$(cat "$output/own_model.hpp" 2>/dev/null)" = "$model" ] || echo "$model" >"$output/own_model.hpp"

need_packages $library_packages libcli11-dev
say "$count classes, $preset"
build_programs own -DMOEVIT_BUILD_TESTS=OFF -DMOEVIT_BUILD_BENCHMARKS=OFF -DMOEVIT_INSTALL=OFF \
  "-DMOEVIT_OWN_MODEL=$output/own_model.hpp"
programs=build/own/examples
"$programs/train" "$images" --output "$output" --model own "${split[@]}" "$@"
"$programs/routing_report" --weights "$output/best.safetensors" --pictures 30 --title "$preset on $(basename "$images")" \
  --output "$output/report.html" "$classes" >/dev/null
say "weights for classify and for your program: $output/best.safetensors, of the type in $output/own_model.hpp"
say "how it routes: $output/report.html"
say "try it: $programs/classify --weights $output/best.safetensors IMAGE"
