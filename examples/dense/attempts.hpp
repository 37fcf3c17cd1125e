/// The types that weights files of segmenters and detectors are opened with.
#pragma once

#include "common/attempts.hpp"
#include "dense/dense_model.hpp"

namespace examples::dense {

/// Every type with a backbone; compiled in files of their own.
void try_swin(Attempts<Segmenter>& attempts);
void try_swin(Attempts<Detector>& attempts);
void try_cvt(Attempts<Segmenter>& attempts);
void try_cvt(Attempts<Detector>& attempts);

}  // namespace examples::dense
