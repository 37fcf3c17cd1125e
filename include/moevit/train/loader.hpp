/// Batches for training, prepared in the background while the last one is learned from.
#pragma once

#include <moevit/core/float_environment.hpp>
#include <moevit/train/augment.hpp>
#include <moevit/train/batch_maker.hpp>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace moevit {

/// Gives out the batches of epoch after epoch. One thread of its own prepares them ahead of time in memory that is
/// taken once; or, given an executor, its workers prepare each batch when it is asked for. Batches are the same, bit
/// for bit, either way and with any number of workers, and also after seek(), so that a training run can be resumed
/// anywhere.
///
/// Used by one thread at a time. It may be destroyed at any moment.
template <class Task>
class BasicLoader {
 public:
  using Data = typename Task::Data;
  using Batch = BasicBatch<typename Task::Label>;
  using Options = BasicLoaderOptions<typename Task::Augmentation>;

  /// `numbers`: the images of the data set that it gives out, as of DataSplit. The data set must live on.
  /// Throws Error when options or preprocessing make no sense, a number is not of the data set, the images make no
  /// batch, or the system gives no thread.
  BasicLoader(const Data& dataset, std::vector<Index> numbers, Preprocessing target, Options options = {})
      : BasicLoader(std::nullopt, dataset, std::move(numbers), std::move(target), std::move(options)) {}
  /// With the caller's executor, which must live on and is used within next() only. `ahead` does not matter then.
  BasicLoader(const Data& dataset, std::vector<Index> numbers, Preprocessing target, Options options,
              ExecutorRef executor)
      : BasicLoader(std::optional(executor), dataset, std::move(numbers), std::move(target), std::move(options)) {}
  ~BasicLoader() { stop(); }
  BasicLoader(const BasicLoader&) = delete;
  BasicLoader& operator=(const BasicLoader&) = delete;

  Index steps_per_epoch() const { return maker_.steps(); }
  /// Of the batch that next() gives.
  Index epoch() const { return (begin_ + taken_) / steps_per_epoch(); }
  Index step() const { return (begin_ + taken_) % steps_per_epoch(); }

  /// The next batch, valid until the next call of next() or seek(). Throws Error, naming the image, when one of the
  /// batch cannot be read; the loader then stays where it is until seek() leads it on.
  Batch next() { return executor_ ? make_now() : take(); }

  /// Goes on with this epoch and step, both from 0; step == steps_per_epoch() is the beginning of the next epoch.
  /// Throws Error when there is no such step.
  void seek(Index epoch, Index step) {
    if (epoch < 0 || step < 0 || step > steps_per_epoch())
      fail("loader: epoch ", epoch, ", step ", step, ": expected both from 0 and steps up to ", steps_per_epoch());
    stop();
    begin_ = epoch * steps_per_epoch() + step;
    made_ = taken_ = released_ = 0;
    start();
  }

 private:
  BasicLoader(std::optional<ExecutorRef> executor, const Data& dataset, std::vector<Index> numbers,
              Preprocessing target, Options options)
      : maker_(dataset, std::move(numbers), std::move(target), std::move(options)), executor_(executor) {
    const Index buffers = executor ? 1 : maker_.options().ahead + 1;
    for (Index i = 0; i < buffers; ++i) buffers_.push_back(maker_.buffer());
    start();
  }

  using Buffer = typename detail::BatchMaker<Task>::Buffer;

  Buffer& buffer(Index batch) { return buffers_[static_cast<std::size_t>(batch % std::ssize(buffers_))]; }

  void make(Index batch, ExecutorRef executor) {
    const Index place = begin_ + batch;
    maker_.make(place / maker_.steps(), place % maker_.steps(), buffer(batch), executor, stop_);
  }

  Batch make_now() {
    make(taken_, *executor_);
    return buffer(taken_++).view();
  }

  Batch take() {
    if (!thread_.joinable()) fail("loader: it has no thread, as seek() could not start one");
    std::unique_lock lock(mutex_);
    released_ = taken_;
    room_.notify_one();
    ready_.wait(lock, [&] { return made_ > taken_; });
    const Buffer& prepared = buffer(taken_);
    if (prepared.failure) std::rethrow_exception(prepared.failure);
    ++taken_;
    return prepared.view();
  }

  /// The background thread. After a failure it ends: what comes then is never given out.
  void serve() {
    for (bool failed = false; !failed;) {
      {
        std::unique_lock lock(mutex_);
        room_.wait(lock, [&] { return stop_ || made_ - released_ < std::ssize(buffers_); });
        if (stop_) return;
      }
      // Nobody else reads or writes this buffer now, nor made_ but this thread.
      std::exception_ptr& failure = buffer(made_).failure;
      failure = nullptr;
      try {
        make(made_, {});
      } catch (...) {
        failure = std::current_exception();
        failed = true;
      }
      const std::lock_guard lock(mutex_);
      ++made_;
      ready_.notify_one();
    }
  }

  void start() {
    if (executor_) return;
    stop_ = false;
    try {
      thread_ = std::thread([this, environment = FloatEnvironment::current()] {
        environment.apply();
        serve();
      });
    } catch (const std::system_error& error) {
      fail("loader: no thread could be started: ", error.what());
    }
  }

  void stop() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    room_.notify_one();
    thread_.join();
  }

  detail::BatchMaker<Task> maker_;
  std::optional<ExecutorRef> executor_;
  std::vector<Buffer> buffers_;  // batch i lies in buffer i modulo their number
  Index begin_ = 0;              // epoch * steps + step of batch 0

  std::mutex mutex_;  // of what follows
  std::condition_variable room_;
  std::condition_variable ready_;
  Index made_ = 0;
  Index taken_ = 0;     // written by the caller's thread only
  Index released_ = 0;  // batches whose buffers may be used again
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

namespace detail {

/// Classification: one label per image, -1 where it has none.
class ClassTask {
 public:
  using Data = Dataset;
  using Label = std::int32_t;
  using Augmentation = moevit::Augmentation;

  ClassTask(const Dataset& dataset, Preprocessing target, Augmentation augmentation)
      : dataset_(dataset), target_(std::move(target)), augmentation_(std::move(augmentation)) {
    check_preprocessing(target_);
    check_augmentation(augmentation_);
  }

  Index values() const { return float_count(target_); }
  static constexpr Index labels() { return 1; }

  void read(Index number, RandomStream& random, std::span<float> image, std::span<std::int32_t> label) const {
    label.front() = static_cast<std::int32_t>(dataset_.label(number));
    Image pixels = resize_and_crop(dataset_.pixels(number), target_);
    crop_and_normalise(augment(std::move(pixels), augmentation_, random), target_, image);
  }

 private:
  const Dataset& dataset_;
  Preprocessing target_;
  Augmentation augmentation_;
};

}  // namespace detail

/// For classifiers.
using Loader = BasicLoader<detail::ClassTask>;
using LoaderOptions = Loader::Options;
using Batch = Loader::Batch;

}  // namespace moevit
