/// Small segmenters and detectors for tests, and images for them.
#pragma once

#include "random_values.hpp"

#include <moevit/models/detector.hpp>
#include <moevit/models/segmenter.hpp>
#include <moevit/models/swin.hpp>

#include <vector>

namespace moevit::test {

inline constexpr SwinConfig small_backbone{.image = 16,
                                           .patch = 2,
                                           .channels = 2,
                                           .dim = 8,
                                           .depths = {1, 2, 1, 0},
                                           .heads = {2, 2, 4, 0},
                                           .window = 3,
                                           .mlp_ratio = 2.f,
                                           .form = WindowForm::pad,
                                           .output_norms = {true, true, true, false}};
inline constexpr MoeConfig one_sparse_block{.experts = 3, .selected = 2, .placement = blocks({2})};
using SmallBackbone = Swin<small_backbone>;
using SmallSparseBackbone = Swin<small_backbone, one_sparse_block>;
inline constexpr UperNetConfig small_upernet{.width = 6, .classes = 3, .groups = 2};
struct SmallSegmenter : Segmenter<SmallBackbone, small_upernet> {};
struct SparseSegmenter : Segmenter<SmallSparseBackbone, small_upernet> {};

inline constexpr FcosConfig small_fcos{
    .width = 6, .classes = 3, .first_stage = 0, .extra_levels = 1, .towers = 2, .groups = 2};
struct SmallDetector : Detector<SmallBackbone, small_fcos> {};
struct SparseDetector : Detector<SmallSparseBackbone, small_fcos> {};

inline std::vector<float> random_images(Index images, MapSize size, Index channels, unsigned seed) {
  return normal_values(images * size.places() * channels, seed);
}

}  // namespace moevit::test
