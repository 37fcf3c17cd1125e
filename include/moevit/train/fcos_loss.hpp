/// The loss of FCOS with its gradient.
#pragma once

#include <moevit/train/detection_losses.hpp>
#include <moevit/train/fcos_targets.hpp>

namespace moevit {

/// Options of fcos_loss.
struct FcosLossOptions {
  FocalOptions focal = {};
  double box_weight = 1;  ///< of the generalised IoU loss
  FcosAssignment assignment = {};
};

/// Parts of the loss, weights included.
struct FcosLosses {
  double classes = 0;
  double boxes = 0;
  double centre = 0;

  double total() const { return classes + boxes + centre; }
};

/// The focal loss of the classes at all places, the generalised IoU loss of the boxes at places with an object,
/// weighted by their centre-ness, and the cross-entropy of the centre-ness there; each divided by the number of such
/// places, at least 1 (equation 2 of Tian et al. 2019, with the IoU loss of their later version). d_outputs = the
/// gradient. Throws Error when a number is not finite or sizes do not fit.
inline FcosLosses fcos_loss(const FcosOutputs<const float>& outputs, const FcosTargets& targets,
                            const FcosLossOptions& options, const FcosOutputs<float>& d_outputs) {
  const Index classes = outputs.class_count();
  FcosLosses losses;
  losses.classes = focal_loss(outputs.classes(), targets.labels, d_outputs.classes(), options.focal);
  require_finite("boxes of the detector", outputs.boxes());
  const ConstMatrixView boxes = outputs.boxes();
  const MatrixView d_boxes = d_outputs.boxes();
  require_same_shape("gradient of the boxes", boxes, d_boxes);
  const double share = 1. / static_cast<double>(std::max<Index>(targets.positives(classes), 1));
  for (Index row = 0; row < boxes.rows(); ++row) {
    std::fill_n(d_boxes.row_data(row), boxes.cols(), 0.f);
    const auto at = static_cast<std::size_t>(row);
    if (targets.labels[at] == classes) continue;
    const auto corners = [](const float* sides) { return std::array{-sides[0], -sides[1], sides[2], sides[3]}; };
    const double centre = centreness(targets.sides[at]), weight = share * options.box_weight * centre;
    const detail::GiouTerm term =
        detail::giou_term(corners(boxes.row_data(row)).data(), corners(targets.sides[at].data()).data());
    losses.boxes += weight * term.loss;
    for (std::size_t side = 0; side < 4; ++side)
      d_boxes(row, static_cast<Index>(side)) = static_cast<float>((side < 2 ? -weight : weight) * term.slope[side]);
    const detail::Logistic found = detail::logistic(static_cast<double>(boxes(row, 4)));
    losses.centre += share * (centre * found.minus_log_p + (1. - centre) * found.minus_log_q);
    d_boxes(row, 4) = static_cast<float>(share * (found.p - centre));
  }
  return losses;
}

}  // namespace moevit
