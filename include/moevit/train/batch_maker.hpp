/// Fills the buffers of training batches: which images, read, augmented, normalised.
#pragma once

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/core/executor.hpp>
#include <moevit/io/datasets/dataset.hpp>
#include <moevit/train/augment.hpp>
#include <moevit/train/shuffle.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <span>
#include <utility>
#include <vector>

namespace moevit {

enum class BatchOrder : unsigned char {
  shuffled,  ///< another random order in every epoch
  as_given
};

/// What happens to images that are too few for a whole batch at the end of an epoch.
enum class LastBatch : unsigned char { dropped, kept };

/// How batches are made. They depend on these, on the images and on epoch and step alone.
struct LoaderOptions {
  Index batch = 64;  ///< images per step
  std::uint64_t seed = 1;
  BatchOrder order = BatchOrder::shuffled;
  LastBatch last_batch = LastBatch::dropped;
  Augmentation augmentation = {};
  Index ahead = 3;  ///< batches that the background thread has ready
};

/// A batch in memory of its loader.
struct Batch {
  ConstMatrixView images;                ///< N x (height * width * channels), normalised
  std::span<const std::int32_t> labels;  ///< N; -1 without a label
  std::span<const Index> numbers;        ///< N, of the images in the data set
  Index epoch = 0;
  Index step = 0;
};

namespace detail {

/// Memory of one batch, taken once.
struct BatchBuffer {
  BatchBuffer(Index images, Index values)
      : floats(images * values), labels(static_cast<std::size_t>(images)), numbers(static_cast<std::size_t>(images)) {}

  Batch view(Index values) const {
    const auto images = static_cast<std::size_t>(count);
    return {ConstMatrixView(floats.data(), count, values), std::span(labels).first(images),
            std::span(numbers).first(images), epoch, step};
  }

  AlignedBuffer<float> floats;
  std::vector<std::int32_t> labels;
  std::vector<Index> numbers;
  Index count = 0;
  Index epoch = 0;
  Index step = 0;
  std::exception_ptr failure;  // instead of the batch
};

/// Makes the batch of any epoch and step.
class BatchMaker {
 public:
  /// Throws Error when the options make no sense, a number is not of the data set, or no batch comes together.
  BatchMaker(const Dataset& dataset, std::vector<Index> numbers, Preprocessing target, LoaderOptions options)
      : dataset_(dataset), numbers_(std::move(numbers)), target_(std::move(target)), options_(std::move(options)) {
    check_preprocessing(target_);
    check_augmentation(options_.augmentation);
    if (options_.batch < 1) fail("loader: expected at least 1 image per batch, found ", options_.batch);
    if (options_.ahead < 1) fail("loader: expected at least 1 batch ahead, found ", options_.ahead);
    for (const Index number : numbers_)
      if (number < 0 || number >= dataset.size()) fail("loader: image ", number, " of ", dataset.size());
    if (steps() < 1) fail("loader: ", numbers_.size(), " images make no batch of ", options_.batch);
  }

  const LoaderOptions& options() const { return options_; }
  Index values() const { return float_count(target_); }
  Index steps() const {
    const Index images = std::ssize(numbers_);
    return options_.last_batch == LastBatch::kept ? ceil_div(images, options_.batch) : images / options_.batch;
  }

  /// Fills a buffer, an image per task of the executor. When `stop` becomes true the rest is left out.
  /// Throws Error, naming the image, when one cannot be read.
  void make(Index epoch, Index step, BatchBuffer& buffer, ExecutorRef executor, const std::atomic<bool>& stop) {
    order_epoch(epoch);
    const Index first = step * options_.batch;
    buffer.count = std::min(options_.batch, std::ssize(numbers_) - first);
    buffer.epoch = epoch, buffer.step = step;
    executor.run(buffer.count, [&](Index image, Index) {
      if (stop.load(std::memory_order_relaxed)) return;
      const auto i = static_cast<std::size_t>(image);
      const Index place = order_[static_cast<std::size_t>(first + image)];
      const Index number = numbers_[static_cast<std::size_t>(place)];
      buffer.numbers[i] = number;
      buffer.labels[i] = static_cast<std::int32_t>(dataset_.label(number));
      read(number, epoch, buffer.floats.span().subspan(i * static_cast<std::size_t>(values())));
    });
  }

 private:
  void order_epoch(Index epoch) {
    if (epoch == ordered_epoch_) return;
    order_ = options_.order == BatchOrder::shuffled ? epoch_order(std::ssize(numbers_), options_.seed, epoch)
                                                    : whole_numbers(std::ssize(numbers_));
    ordered_epoch_ = epoch;
  }

  void read(Index number, Index epoch, std::span<float> out) const {
    RandomStream random(options_.seed, epoch, number);
    Image image = resize_and_crop(dataset_.pixels(number), target_);
    crop_and_normalise(augment(std::move(image), options_.augmentation, random), target_, out);
  }

  const Dataset& dataset_;
  std::vector<Index> numbers_;
  Preprocessing target_;
  LoaderOptions options_;
  std::vector<Index> order_;  // of ordered_epoch_: places in numbers_
  Index ordered_epoch_ = -1;
};

}  // namespace detail

}  // namespace moevit
