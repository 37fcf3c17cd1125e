#!/usr/bin/env bash
# Classifies the 10,000 test images of Fashion-MNIST with a Mobile V-MoE and a V-MoE, and writes a page for each that shows
# how its experts share the work; then finds nuclei of cells in a picture from a microscope. Builds the examples first; on
# Debian it installs what is missing.
#   bash examples/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/dependencies.sh

need_packages $library_packages libcli11-dev dataset-fashion-mnist
# Elsewhere than on Debian: a folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz.
images=${MOEVIT_FASHION_MNIST:-/usr/share/datasets/fashion-mnist}
[ -d "$images" ] || die "$images is absent: set MOEVIT_FASHION_MNIST to a folder with the test images and labels"
build_programs examples -DMOEVIT_BUILD_TESTS=OFF -DMOEVIT_BUILD_BENCHMARKS=OFF -DMOEVIT_INSTALL=OFF
programs=build/examples/examples

# show <weights> <name> <pictures>: accuracy, speed and the page of one model.
show() {
  local report="build/$1_report.html"
  say "$2, examples/weights/$1.safetensors"
  "$programs/classify" --weights "examples/weights/$1.safetensors" --split t10k --summary "$images"
  "$programs/routing_report" --weights "examples/weights/$1.safetensors" --split t10k --pictures "$3" \
    --title "$2 on Fashion-MNIST" --output "$report" "$images" >/dev/null
  say "its routing: $PWD/$report"
}
show fashion_mobile_vmoe "Mobile V-MoE" 30
show fashion_vmoe "V-MoE" 12

# The nuclei of one image, where there are weights. MOEVIT_NUCLEI: the image, any JPEG, PNG or PPM.
segmenter=examples/weights/nuclei_segmenter.safetensors
nuclei=${MOEVIT_NUCLEI:-}
archive=../shared/data/nuclei-dsb2018.tar
if [ -f "$segmenter" ] && [ -z "$nuclei" ] && [ -f "$archive" ]; then
  tar -xf "$archive" -C build images/0034.jpg  # one that the weights were not trained with
  nuclei=build/images/0034.jpg
fi
if [ -f "$segmenter" ] && [ -n "$nuclei" ]; then
  say "nuclei in $nuclei, $segmenter"
  "$programs/segment" --weights "$segmenter" --title "Nuclei" --masks --routing --output build/nuclei "$nuclei"
elif [ -f "$segmenter" ]; then
  say "no image of nuclei here: set MOEVIT_NUCLEI to one, e.g. of BBBC038 (CC0), https://bbbc.broadinstitute.org/BBBC038"
fi
