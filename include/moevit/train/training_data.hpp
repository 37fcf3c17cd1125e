/// The images of a training run, checked before it begins.
#pragma once

#include <moevit/io/datasets/dataset.hpp>
#include <moevit/train/shuffle.hpp>
#include <moevit/train/trainer_options.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace moevit {

/// A data set, which must live on, and which of its images are for what.
template <class Data>
struct BasicTrainingData {
  const Data& dataset;
  DataSplit split;  ///< as of validation_split(); without validation images nothing is evaluated
};
/// For classifiers.
using TrainingData = BasicTrainingData<Dataset>;

namespace detail {

inline std::string class_name(const Dataset& dataset, Index label) {
  const auto& names = dataset.class_names();
  const auto i = static_cast<std::size_t>(label);
  return std::to_string(label) + (i < names.size() ? " ('" + names[i] + "')" : "");
}

/// Images of each class. Throws Error, naming the image, when a label is none of the classes.
inline std::vector<Index> count_classes(const Dataset& dataset, std::span<const Index> numbers, Index classes) {
  std::vector<Index> counts(static_cast<std::size_t>(classes));
  for (const Index number : numbers) {
    const Index label = dataset.label(number);
    if (label < 0) fail(dataset.name(number), ": has no label");
    if (label >= classes)
      fail(dataset.name(number), ": has label ", label, ", but the model has ", classes, " classes");
    ++counts[static_cast<std::size_t>(label)];
  }
  return counts;
}

}  // namespace detail

/// Throws Error when there is no image to learn from, and when the data set names another number of classes than the
/// model has.
template <class Data>
void check_data_set(const BasicTrainingData<Data>& data, Index classes) {
  if (data.split.training.empty()) fail("training: the data set has no images to learn from");
  const auto& names = data.dataset.class_names();
  if (!names.empty() && std::ssize(names) != classes)
    fail("training: the data set has ", names.size(), " classes, but the model ", classes);
}

/// Throws Error, naming image or classes, when an image has no label or one that the model does not have, when a class
/// has no image to learn from, and when the data set names another number of classes than the model has.
inline void check_training_data(const TrainingData& data, Index classes) {
  const Dataset& dataset = data.dataset;
  check_data_set(data, classes);
  const auto counts = detail::count_classes(dataset, data.split.training, classes);
  detail::count_classes(dataset, data.split.validation, classes);
  std::string missing;
  for (Index label = 0; label < classes; ++label)
    if (counts[static_cast<std::size_t>(label)] == 0)
      missing += (missing.empty() ? "" : ", ") + detail::class_name(dataset, label);
  if (!missing.empty()) fail("training: no training images of class ", missing);
}

/// Adds what tells these images from others: numbers, labels, and the pixels of the first one. Throws Error when that
/// cannot be read.
template <class Data>
void add_data(const BasicTrainingData<Data>& data, Fingerprint& print) {
  print["training images"] = std::to_string(data.split.training.size());
  print["validation images"] = std::to_string(data.split.validation.size());
  std::uint64_t sum = 0;
  const auto add = [&](Index value) { sum = detail::mix_bits(sum ^ static_cast<std::uint64_t>(value)); };
  for (const auto* numbers : {&data.split.training, &data.split.validation})
    for (const Index number : *numbers) add(number), add(data.dataset.label(number));
  const Image first = data.dataset.pixels(data.split.training.front());
  for (const std::uint8_t pixel : first.pixels()) add(pixel);
  print["images and labels"] = std::to_string(sum);
}

}  // namespace moevit
