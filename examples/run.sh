#!/usr/bin/env bash
# Classifies the 10,000 test images of Fashion-MNIST with a Mobile V-MoE and a V-MoE, and those of CIFAR-10 with another
# Mobile V-MoE, and writes a page for each that shows how its experts share the work; then finds nuclei of cells in a picture
# from a microscope. Builds the examples first; on Debian it installs what is missing.
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

# show <weights> <name> <images> <split> <pictures>: accuracy, speed and the page of one model.
show() {
  local report="build/$1_report.html"
  say "$2, examples/weights/$1.safetensors"
  "$programs/classify" --weights "examples/weights/$1.safetensors" --split "$4" --summary "$3"
  "$programs/routing_report" --weights "examples/weights/$1.safetensors" --split "$4" --pictures "$5" \
    --title "$2" --output "$report" "$3" >/dev/null
  say "its routing: $PWD/$report"
}
show fashion_mobile_vmoe "Mobile V-MoE on Fashion-MNIST" "$images" t10k 30
show fashion_vmoe "V-MoE on Fashion-MNIST" "$images" t10k 12

# CIFAR-10, where it is. MOEVIT_CIFAR10: a folder with test/CLASS/*.jpg (or .png).
cifar=${MOEVIT_CIFAR10:-}
archive=../shared/data/cifar10-jpeg.tar.gz
if [ -z "$cifar" ] && [ -f "$archive" ]; then
  mkdir -p build/cifar10
  tar -xzf "$archive" -C build/cifar10 test
  cifar=build/cifar10
fi
if [ -n "$cifar" ]; then
  show cifar_mobile_vmoe "Mobile V-MoE on CIFAR-10" "$cifar" test 30
else
  say "no CIFAR-10 here: set MOEVIT_CIFAR10 to a folder with its images, test/CLASS/*.jpg"
fi

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
