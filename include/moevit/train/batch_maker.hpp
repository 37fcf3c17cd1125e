/// Fills the buffers of training batches: which images, in which order. How one is read and augmented depends on the
/// task.
#pragma once

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/core/executor.hpp>
#include <moevit/io/datasets/dataset.hpp>
#include <moevit/train/random.hpp>
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
template <class Augmentation>
struct BasicLoaderOptions {
  Index batch = 64;  ///< images per step
  std::uint64_t seed = 1;
  BatchOrder order = BatchOrder::shuffled;
  LastBatch last_batch = LastBatch::dropped;
  Augmentation augmentation = {};
  Index ahead = 3;  ///< batches that the background thread has ready
};

/// A batch in memory of its loader.
template <class Label>
struct BasicBatch {
  ConstMatrixView images;          ///< N x (height * width * channels), normalised
  std::span<const Label> labels;   ///< what the task has of them per image, N times
  std::span<const Index> numbers;  ///< N, of the images in the data set
  Index epoch = 0;
  Index step = 0;
};

namespace detail {

/// Memory of one batch, taken once.
template <class Label>
struct BatchBuffer {
  BatchBuffer(Index images, Index values, Index labels_per_image)
      : floats(images * values),
        labels(static_cast<std::size_t>(images * labels_per_image)),
        numbers(static_cast<std::size_t>(images)) {}

  BasicBatch<Label> view() const {
    const std::size_t images = static_cast<std::size_t>(count), all = numbers.size();
    return {ConstMatrixView(floats.data(), count, floats.size() / std::ssize(numbers)),
            std::span(labels).first(labels.size() / all * images), std::span(numbers).first(images), epoch, step};
  }

  AlignedBuffer<float> floats;
  std::vector<Label> labels;
  std::vector<Index> numbers;
  Index count = 0;
  Index epoch = 0;
  Index step = 0;
  std::exception_ptr failure;  // instead of the batch
};

/// Makes the batch of any epoch and step. A task knows one image of a data set at a time; it has
/// - the types Data (a data set), Label and Augmentation, and a constructor from Data, Preprocessing and Augmentation,
/// - values() and labels(): floats and labels per image,
/// - read(number, random, image, labels) const: fills those of an image; called by several threads at once.
template <class Task>
class BatchMaker {
 public:
  using Options = BasicLoaderOptions<typename Task::Augmentation>;
  using Buffer = BatchBuffer<typename Task::Label>;

  /// Throws Error when the options make no sense, a number is not of the data set, or no batch comes together.
  BatchMaker(const typename Task::Data& dataset, std::vector<Index> numbers, Preprocessing target, Options options)
      : task_(dataset, std::move(target), options.augmentation),
        numbers_(std::move(numbers)),
        options_(std::move(options)) {
    if (options_.batch < 1) fail("loader: expected at least 1 image per batch, found ", options_.batch);
    if (options_.ahead < 1) fail("loader: expected at least 1 batch ahead, found ", options_.ahead);
    for (const Index number : numbers_)
      if (number < 0 || number >= dataset.size()) fail("loader: image ", number, " of ", dataset.size());
    if (steps() < 1) fail("loader: ", numbers_.size(), " images make no batch of ", options_.batch);
  }

  const Options& options() const { return options_; }
  Buffer buffer() const { return {options_.batch, task_.values(), task_.labels()}; }
  Index steps() const {
    const Index images = std::ssize(numbers_);
    return options_.last_batch == LastBatch::kept ? ceil_div(images, options_.batch) : images / options_.batch;
  }

  /// Fills a buffer, an image per task of the executor. When `stop` becomes true the rest is left out.
  /// Throws Error, naming the image, when one cannot be read.
  void make(Index epoch, Index step, Buffer& buffer, ExecutorRef executor, const std::atomic<bool>& stop) {
    order_epoch(epoch);
    const Index first = step * options_.batch;
    buffer.count = std::min(options_.batch, std::ssize(numbers_) - first);
    buffer.epoch = epoch, buffer.step = step;
    const auto part = [](auto all, Index image, Index size) {
      return all.subspan(static_cast<std::size_t>(image * size), static_cast<std::size_t>(size));
    };
    executor.run(buffer.count, [&](Index image, Index) {
      if (stop.load(std::memory_order_relaxed)) return;
      const Index place = order_[static_cast<std::size_t>(first + image)];
      const Index number = numbers_[static_cast<std::size_t>(place)];
      buffer.numbers[static_cast<std::size_t>(image)] = number;
      RandomStream random(options_.seed, epoch, number);
      task_.read(number, random, part(buffer.floats.span(), image, task_.values()),
                 part(std::span(buffer.labels), image, task_.labels()));
    });
  }

 private:
  void order_epoch(Index epoch) {
    if (epoch == ordered_epoch_) return;
    order_ = options_.order == BatchOrder::shuffled ? epoch_order(std::ssize(numbers_), options_.seed, epoch)
                                                    : whole_numbers(std::ssize(numbers_));
    ordered_epoch_ = epoch;
  }

  Task task_;
  std::vector<Index> numbers_;
  Options options_;
  std::vector<Index> order_;  // of ordered_epoch_: places in numbers_
  Index ordered_epoch_ = -1;
};

}  // namespace detail

}  // namespace moevit
