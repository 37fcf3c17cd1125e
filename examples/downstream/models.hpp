/// The model types of the study of Residual MoE: two small hierarchical backbones, dense and with residual experts, as
/// classifiers of the upstream images and under the heads of the downstream tasks.
#pragma once

#include <moevit/models/cvt.hpp>
#include <moevit/models/detector.hpp>
#include <moevit/models/segmenter.hpp>
#include <moevit/models/swin.hpp>

#include <type_traits>

#ifndef MOEVIT_DOWNSTREAM_TASKS
#define MOEVIT_DOWNSTREAM_TASKS Task::camvid, Task::bccd, Task::nuclei_masks, Task::nuclei_boxes
#endif

namespace examples::downstream {

using moevit::Index;

enum class Backbone { swin, cvt };
enum class Task {
  upstream,  ///< classification, 100 classes of Tiny ImageNet
  camvid,    ///< segmentation, 11 classes
  bccd,      ///< detection of blood cells, 3 classes
  nuclei_masks,
  nuclei_boxes
};

constexpr bool is_segmentation(Task task) { return task == Task::camvid || task == Task::nuclei_masks; }
constexpr bool is_detection(Task task) { return task == Task::bccd || task == Task::nuclei_boxes; }
/// Whether this build has models for it.
constexpr bool is_compiled(Task task) {
  for (const Task known : {Task::upstream, MOEVIT_DOWNSTREAM_TASKS})
    if (task == known) return true;
  return false;
}

/// Without background for detectors, with it for segmenters.
constexpr Index classes_of(Task task) {
  constexpr Index counts[] = {100, 11, 3, 2, 1};
  return counts[static_cast<int>(task)];
}
/// The images of training steps and evaluations. Those of CamVid and BCCD are 4 : 3, those of the nuclei square, most
/// of them.
constexpr moevit::MapSize image_of(Task task) {
  constexpr moevit::MapSize sizes[] = {{64, 64}, {144, 192}, {144, 192}, {128, 128}, {128, 128}};
  return sizes[static_cast<int>(task)];
}

/// Three stages at strides 4, 8 and 16, widths 32 to 128.
inline constexpr moevit::SwinConfig small_swin{
    .image = 64, .dim = 32, .depths = {2, 2, 2, 0}, .heads = {2, 4, 8, 0}, .window = 4, .classes = 100};
inline constexpr moevit::CvtConfig small_cvt{.image = 64,
                                             .depths = {2, 2, 2, 0},
                                             .dims = {32, 64, 128, 0},
                                             .heads = {1, 2, 4, 0},
                                             .classes = 100,
                                             .class_token = false};
/// The same as backbones.
inline constexpr moevit::SwinConfig small_swin_maps = [] {
  moevit::SwinConfig config = small_swin;
  config.classes = 0, config.form = moevit::WindowForm::pad, config.output_norms = {true, true, true, false};
  return config;
}();
inline constexpr moevit::CvtConfig small_cvt_maps = [] {
  moevit::CvtConfig config = small_cvt;
  config.classes = 0;
  return config;
}();

/// k = 1 with weight 1, where gradients are those of weighting by the gate: Wu et al. 2022, alignment. The blocks are
/// the last ones of the second and third stage; a build may try others.
#ifndef MOEVIT_DOWNSTREAM_BLOCKS
#define MOEVIT_DOWNSTREAM_BLOCKS 3, 5
#endif
#ifndef MOEVIT_DOWNSTREAM_EXPERTS
#define MOEVIT_DOWNSTREAM_EXPERTS 8
#endif
#ifndef MOEVIT_DOWNSTREAM_RANK
#define MOEVIT_DOWNSTREAM_RANK moevit::full_rank
#endif
inline constexpr moevit::MoeConfig residual_experts{.experts = MOEVIT_DOWNSTREAM_EXPERTS,
                                                    .selected = 1,
                                                    .placement = moevit::blocks({MOEVIT_DOWNSTREAM_BLOCKS}),
                                                    .scale_by_gate = false};
inline constexpr Index residual_rank = MOEVIT_DOWNSTREAM_RANK;
template <class X>
using Residuals = moevit::ResidualExpertBank<X, residual_rank>;

template <Backbone backbone, bool with_maps, bool is_sparse>
struct BackboneOf;
template <bool with_maps>
struct BackboneOf<Backbone::swin, with_maps, false> {
  using type = moevit::Swin<with_maps ? small_swin_maps : small_swin>;
};
template <bool with_maps>
struct BackboneOf<Backbone::swin, with_maps, true> {
  using type = moevit::Swin<with_maps ? small_swin_maps : small_swin, residual_experts, Residuals>;
};
template <bool with_maps>
struct BackboneOf<Backbone::cvt, with_maps, false> {
  using type = moevit::Cvt<with_maps ? small_cvt_maps : small_cvt>;
};
template <bool with_maps>
struct BackboneOf<Backbone::cvt, with_maps, true> {
  using type = moevit::Cvt<with_maps ? small_cvt_maps : small_cvt, residual_experts, Residuals>;
};

template <Task task, class Maps>
struct HeadOn;
template <Task task, class Maps>
requires(is_segmentation(task)) struct HeadOn<task, Maps> {
  using type = moevit::Segmenter<Maps, moevit::UperNetConfig{.width = 32, .classes = classes_of(task), .groups = 8}>;
};
template <Task task, class Maps>
requires(is_detection(task)) struct HeadOn<task, Maps> {
  using type = moevit::Detector<Maps, moevit::FcosConfig{.width = 48,
                                                         .classes = classes_of(task),
                                                         .first_stage = task == Task::nuclei_boxes ? 0 : 1,
                                                         .extra_levels = 1,
                                                         .towers = 2,
                                                         .groups = 8}>;
};
template <Backbone backbone, Task task, bool is_sparse>
struct NetOf {
  using type = typename HeadOn<task, typename BackboneOf<backbone, true, is_sparse>::type>::type;
};
template <Backbone backbone, bool is_sparse>
struct NetOf<backbone, Task::upstream, is_sparse> {
  using type = typename BackboneOf<backbone, false, is_sparse>::type;
};

/// The model of a task.
template <Backbone backbone, Task task, bool is_sparse>
using Net = typename NetOf<backbone, task, is_sparse>::type;

}  // namespace examples::downstream
