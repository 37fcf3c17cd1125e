/// Trained models on whole test sets: images, logits, predictions.
#pragma once

#include "golden/typed.hpp"
#include "shared.hpp"

#include <moevit/io/datasets/idx.hpp>

#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

namespace moevit::test {

/// All images of a data set, preprocessed, one after the other, and their labels.
struct TestSet {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  std::size_t image_values = 0;

  TestSet(const Dataset& dataset, const Preprocessing& preprocessing)
      : image_values(static_cast<std::size_t>(float_count(preprocessing))) {
    images.resize(static_cast<std::size_t>(dataset.size()) * image_values);
    for (Index image = 0; image < dataset.size(); ++image) {
      dataset.read(image, preprocessing,
                   std::span(images).subspan(static_cast<std::size_t>(image) * image_values, image_values));
      labels.push_back(static_cast<std::int32_t>(dataset.label(image)));
    }
  }
  std::size_t size() const { return labels.size(); }
};

/// The Fashion-MNIST test images; nothing where they are not installed, which is an error under CI.
inline std::optional<TestSet> fashion_mnist(const Preprocessing& preprocessing) {
#ifdef MOEVIT_FASHION_MNIST_DIR
  const std::filesystem::path directory = MOEVIT_FASHION_MNIST_DIR;
  return TestSet(IdxDataset(directory / "t10k-images-idx3-ubyte.gz", directory / "t10k-labels-idx1-ubyte.gz"),
                 preprocessing);
#else
  (void)preprocessing;
  skip("needs Fashion-MNIST (Debian package dataset-fashion-mnist), which was not found while configuring");
  return std::nullopt;
#endif
}

inline Index hardware_threads() { return std::max<Index>(1, static_cast<Index>(std::thread::hardware_concurrency())); }

/// Logits of the first `count` images, `batch` at a time; after each batch `seen(first image, images, context)`.
template <class Seen>
std::vector<float> logits_of(const AnyModel& model, const TestSet& set, std::size_t count, std::size_t batch,
                             Context& context, Seen seen) {
  const auto classes = static_cast<std::size_t>(model.description().vit.outputs());
  std::vector<float> logits(count * classes);
  for (std::size_t first = 0; first < count; first += batch) {
    const std::size_t images = std::min(batch, count - first);
    model.forward(std::span(set.images).subspan(first * set.image_values, images * set.image_values),
                  std::span(logits).subspan(first * classes, images * classes), context);
    seen(first, images, context);
  }
  return logits;
}

/// The class with the largest logit of every row.
inline std::vector<std::int32_t> predictions(std::span<const float> logits, std::size_t rows) {
  const std::size_t classes = logits.size() / rows;
  std::vector<std::int32_t> result;
  for (std::size_t row = 0; row < rows; ++row) {
    const auto values = logits.subspan(row * classes, classes);
    result.push_back(static_cast<std::int32_t>(std::max_element(values.begin(), values.end()) - values.begin()));
  }
  return result;
}

inline std::size_t count_equal(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) {
  std::size_t equal = 0;
  for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i];
  return equal;
}

}  // namespace moevit::test
