/// The places at which FCOS predicts, and the layout of what it predicts.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/map_size.hpp>
#include <moevit/core/tensor.hpp>

#include <span>
#include <type_traits>

namespace moevit {

/// One level of the pyramid.
struct FcosLevel {
  MapSize size;
  Index stride = 1;  ///< pixels from one place to the next

  /// The pixel in the middle of a place.
  constexpr double x(Index place) const { return centre(place % size.width); }
  constexpr double y(Index place) const { return centre(place / size.width); }

 private:
  constexpr double centre(Index cell) const { return (static_cast<double>(cell) + 0.5) * static_cast<double>(stride); }
};

/// Places of one image on all levels.
constexpr Index places_of(std::span<const FcosLevel> levels) {
  Index places = 0;
  for (const FcosLevel& level : levels) places += level.size.places();
  return places;
}

/// Shows floats as what an FCOS head predicts. Rows are in (level, image, place) order: first the logits of the classes
/// of all rows, then, for each, the distances in pixels from its place to the left, top, right and bottom side of a
/// box, and the logit of centre-ness. T: float or const float.
template <class T>
class FcosOutputs {
  using View = std::conditional_t<std::is_const_v<T>, ConstMatrixView, MatrixView>;
  static constexpr Index values_of_box = 5;

 public:
  /// `levels` must live on. `data`: as many floats as values().
  FcosOutputs(T* data, Index images, Index classes, std::span<const FcosLevel> levels)
      : data_(data), images_(images), classes_(classes), levels_(levels), rows_(images * places_of(levels)) {}
  /// The same, checked. Throws Error when the number of values is another one.
  FcosOutputs(std::span<T> values, Index images, Index classes, std::span<const FcosLevel> levels)
      : FcosOutputs(values.data(), images, classes, levels) {
    if (std::ssize(values) != rows_ * (classes + values_of_box))
      fail("FCOS outputs: expected ", rows_ * (classes + values_of_box), " values for ", images, " images, found ",
           values.size());
  }

  Index images() const { return images_; }
  Index rows() const { return rows_; }
  Index class_count() const { return classes_; }
  std::span<const FcosLevel> levels() const { return levels_; }
  /// The first row of a level.
  Index first_row(std::size_t level) const { return images_ * places_of(levels_.first(level)); }

  /// rows() x classes, and rows() x 5.
  View classes() const { return {data_, rows_, classes_}; }
  View boxes() const { return {data_ + rows_ * classes_, rows_, values_of_box}; }
  /// Those of one level.
  View classes(std::size_t level) const { return classes().rows_of(first_row(level), rows_of_level(level)); }
  View boxes(std::size_t level) const { return boxes().rows_of(first_row(level), rows_of_level(level)); }

 private:
  Index rows_of_level(std::size_t level) const { return images_ * levels_[level].size.places(); }

  T* data_;
  Index images_, classes_;
  std::span<const FcosLevel> levels_;
  Index rows_;
};

}  // namespace moevit
