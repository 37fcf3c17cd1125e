/// The order of an epoch's images, and which images are held out for validation.
#pragma once

#include <moevit/io/datasets/dataset.hpp>
#include <moevit/train/random.hpp>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace moevit {

/// 0 .. size - 1 in the random order of an epoch, the same for a seed and an epoch everywhere.
inline std::vector<Index> epoch_order(Index size, std::uint64_t seed, Index epoch) {
  std::vector<Index> order = detail::whole_numbers(size);
  RandomStream random(seed, epoch);
  shuffle(std::span(order), random);
  return order;
}

/// Numbers of images, rising.
struct DataSplit {
  std::vector<Index> training;
  std::vector<Index> validation;
};

/// Holds out the last images of every class in the order of the files: `fraction` of them, rounded to the nearest, but
/// never all. Images without a label (-1) count as a class of their own. `labels`: the class of each image.
/// Throws Error unless 0 <= fraction < 1.
inline DataSplit validation_split(std::span<const Index> labels, double fraction = 0.1) {
  if (!(fraction >= 0 && fraction < 1))
    fail("validation split: expected a fraction from 0 to below 1, found ", fraction);
  std::map<Index, Index> left;  // images of the class that are for training and have not come yet
  for (const Index label : labels) ++left[label];
  for (auto& [label, count] : left) {
    const auto held_out = static_cast<Index>(fraction * static_cast<double>(count) + 0.5);
    count -= held_out < count ? held_out : count - 1;
  }
  DataSplit split;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const bool trains = left[labels[i]]-- > 0;
    (trains ? split.training : split.validation).push_back(static_cast<Index>(i));
  }
  return split;
}

/// The same for the images of a data set.
inline DataSplit validation_split(const Dataset& dataset, double fraction = 0.1) {
  std::vector<Index> labels;
  for (Index image = 0; image < dataset.size(); ++image) labels.push_back(dataset.label(image));
  return validation_split(labels, fraction);
}

}  // namespace moevit
