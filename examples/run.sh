#!/usr/bin/env bash
# Builds the examples for this machine's instruction set; on Debian it installs what is missing.
#   bash examples/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. cmake/dependencies.sh

need_packages $library_packages libcli11-dev
build_programs examples -DMOEVIT_BUILD_TESTS=OFF -DMOEVIT_BUILD_BENCHMARKS=OFF
