/// Targets of classifiers: one-hot, smoothed, mixed (mixup, cutmix) and summed to super-classes.
#pragma once

#include <moevit/core/finite.hpp>
#include <moevit/train/classification_losses.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace moevit {

/// targets = (1 - smoothing) one-hot + smoothing / classes; rows x classes. Throws Error when the labels do not fit.
inline void one_hot_targets(std::span<const std::int32_t> labels, MatrixView targets, double smoothing = 0) {
  detail::check_labels("one-hot targets", labels, targets.rows(), targets.cols());
  if (!(smoothing >= 0 && smoothing <= 1)) fail("label smoothing: expected 0 to 1, found ", smoothing);
  const double off = smoothing / static_cast<double>(targets.cols());
  for (Index row = 0; row < targets.rows(); ++row) {
    std::fill_n(targets.row_data(row), targets.cols(), static_cast<float>(off));
    targets(row, labels[static_cast<std::size_t>(row)]) = static_cast<float>(1. - smoothing + off);
  }
}

namespace detail {

inline void check_mixing(std::string_view what, ConstMatrixView rows, std::span<const Index> partners,
                         std::size_t weights, ConstMatrixView mixed) {
  require_same_shape(what, rows, mixed);
  if (rows.rows() > 0 && rows.data() == mixed.data()) fail(what, ": the result must not be the rows to be mixed");
  if (std::ssize(partners) != rows.rows() || weights != partners.size())
    fail(what, ": expected partners and shares of ", rows.rows(), " rows, found ", partners.size(), " and ", weights);
  for (std::size_t row = 0; row < partners.size(); ++row)
    if (partners[row] < 0 || partners[row] >= rows.rows())
      fail(what, ": row ", row, ": expected a partner from 0 to ", rows.rows() - 1, ", found ", partners[row]);
}

}  // namespace detail

/// mixed[i] = shares[i] * rows[i] + (1 - shares[i]) * rows[partners[i]]: mixup (Zhang et al. 2018) of images, one per
/// row, and mixup and cutmix of their targets. `mixed` must be another matrix. Throws Error when sizes do not fit.
inline void mix_rows(ConstMatrixView rows, std::span<const Index> partners, std::span<const float> shares,
                     MatrixView mixed) {
  detail::check_mixing("mixup", rows, partners, shares.size(), mixed);
  for (Index row = 0; row < rows.rows(); ++row) {
    const auto i = static_cast<std::size_t>(row);
    const float share = shares[i], rest = static_cast<float>(1. - static_cast<double>(share));
    const float *own = rows.row_data(row), *other = rows.row_data(partners[i]);
    float* result = mixed.row_data(row);
    for (Index col = 0; col < rows.cols(); ++col) result[col] = own[col] * share + other[col] * rest;
  }
}

/// Pixels [first_row, last_row) x [first_column, last_column) of an image.
struct PixelBox {
  Index first_row = 0, last_row = 0;
  Index first_column = 0, last_column = 0;

  constexpr Index area() const { return (last_row - first_row) * (last_column - first_column); }
  constexpr bool operator==(const PixelBox&) const = default;
};

/// The box that cutmix (Yun et al. 2019) replaces in an image of height x width pixels: about 1 - share of its area
/// around a centre, cut off at the image's edges. Arithmetic of timm: sides of int(side * sqrt(1 - share)).
inline PixelBox cutmix_box(Index height, Index width, float share, Index center_row, Index center_column) {
  if (!(share >= 0.f && share <= 1.f)) fail("cutmix: expected a share from 0 to 1, found ", share);
  const double ratio = std::sqrt(1. - static_cast<double>(share));
  const Index half_height = static_cast<Index>(static_cast<double>(height) * ratio) / 2;
  const Index half_width = static_cast<Index>(static_cast<double>(width) * ratio) / 2;
  const auto within = [](Index place, Index side) { return std::clamp(place, Index{0}, side); };
  return {within(center_row - half_height, height), within(center_row + half_height, height),
          within(center_column - half_width, width), within(center_column + half_width, width)};
}

/// The share of an image of height x width pixels that lies outside the box: with it the targets are mixed.
inline float cutmix_share(const PixelBox& box, Index height, Index width) {
  return static_cast<float>(1. - static_cast<double>(box.area()) / static_cast<double>(height * width));
}

/// mixed[i] = images[i] with the pixels of boxes[i] taken from images[partners[i]]. Images: one per row, height x width
/// x channels. `mixed` must be another matrix. Throws Error when sizes do not fit or a box leaves the image.
inline void cutmix_images(ConstMatrixView images, Index height, Index width, std::span<const Index> partners,
                          std::span<const PixelBox> boxes, MatrixView mixed) {
  detail::check_mixing("cutmix", images, partners, boxes.size(), mixed);
  if (height < 1 || width < 1 || images.cols() % (height * width) != 0)
    fail("cutmix: expected rows of ", height, " x ", width, " pixels, found ", images.cols(), " values");
  const Index channels = images.cols() / (height * width);
  for (Index image = 0; image < images.rows(); ++image) {
    const PixelBox& box = boxes[static_cast<std::size_t>(image)];
    if (box.first_row < 0 || box.first_column < 0 || box.last_row > height || box.last_column > width ||
        box.first_row > box.last_row || box.first_column > box.last_column)
      fail("cutmix: image ", image, ": expected a box within ", height, " x ", width, " pixels, found rows ",
           box.first_row, " to ", box.last_row, ", columns ", box.first_column, " to ", box.last_column);
    const float* other = images.row_data(partners[static_cast<std::size_t>(image)]);
    float* result = mixed.row_data(image);
    std::copy_n(images.row_data(image), images.cols(), result);
    for (Index row = box.first_row; row < box.last_row; ++row) {
      const Index first = (row * width + box.first_column) * channels;
      std::copy_n(other + first, (box.last_column - box.first_column) * channels, result + first);
    }
  }
}

/// super_targets (rows x super-classes) = sums of targets (rows x classes) within super-classes; super_class_of has
/// one number per class. Throws Error when sizes or numbers do not fit. Source: Mobile V-MoEs (Daxberger et al. 2023).
inline void super_class_targets(ConstMatrixView targets, std::span<const std::int32_t> super_class_of,
                                MatrixView super_targets) {
  detail::check_labels("super-classes", super_class_of, targets.cols(), super_targets.cols());
  if (targets.rows() != super_targets.rows())
    fail("super-class targets: expected ", targets.rows(), " rows, found ", super_targets.rows());
  for (Index row = 0; row < targets.rows(); ++row) {
    float* sums = super_targets.row_data(row);
    std::fill_n(sums, super_targets.cols(), 0.f);
    for (Index col = 0; col < targets.cols(); ++col)
      sums[super_class_of[static_cast<std::size_t>(col)]] += targets.row_data(row)[col];
  }
}

}  // namespace moevit
