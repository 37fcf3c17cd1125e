/// Whether all kinds of golden cases are compared.
#include "golden/manifest.hpp"

#include <array>
#include <string_view>

using namespace moevit::test;

namespace {

/// Each has a test case of its name in this folder, which fails when it runs fewer cases than the manifests list.
constexpr auto compared_kinds = std::to_array<std::string_view>({"topk_router",
                                                                 "dispatch",
                                                                 "expert_choice_router",
                                                                 "aux_losses",
                                                                 "router_z_loss",
                                                                 "moe_layer",
                                                                 "soft_moe_layer",
                                                                 "per_image_layer",
                                                                 "dropless_layer",
                                                                 "ensemble_layer",
                                                                 "encoder_block",
                                                                 "model",
                                                                 "mobile_model",
                                                                 "vit",
                                                                 "residual_moe_layer",
                                                                 "checkpoint",
                                                                 "posembed_zoom",
                                                                 "posembed_resample",
                                                                 "preprocess",
                                                                 "jpeg_decode",
                                                                 "label_smoothing",
                                                                 "sigmoid_bce",
                                                                 "super_class_loss",
                                                                 "teacher_routing_loss",
                                                                 "mixup_cutmix",
                                                                 "topk_accuracy",
                                                                 "optimizer",
                                                                 "schedule",
                                                                 "super_class_clustering",
                                                                 "sigmoid_focal_loss",
                                                                 "giou_loss",
                                                                 "segmentation_loss",
                                                                 "mean_iou",
                                                                 "coco_detection",
                                                                 "swin_classifier",
                                                                 "swin_backbone",
                                                                 "swin_names",
                                                                 "cvt",
                                                                 "cvt_names"});

}  // namespace

TEST_CASE("golden: every kind is compared") {
  for (const Manifest& manifest : manifests())
    for (const auto& entry : manifest.json.at("cases")) {
      const std::string kind = entry.at("kind");
      INFO(manifest.directory.string() << ": " << entry.at("name") << " is of kind " << kind);
      CHECK(std::find(compared_kinds.begin(), compared_kinds.end(), kind) != compared_kinds.end());
    }
}
