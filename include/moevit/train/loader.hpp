/// Batches for training, prepared in the background while the last one is learned from.
#pragma once

#include <moevit/core/float_environment.hpp>
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
class Loader {
 public:
  /// `numbers`: the images of the data set that it gives out, as of DataSplit. The data set must live on.
  /// Throws Error when options or preprocessing make no sense, a number is not of the data set, the images make no
  /// batch, or the system gives no thread.
  Loader(const Dataset& dataset, std::vector<Index> numbers, Preprocessing target, LoaderOptions options = {})
      : Loader(std::nullopt, dataset, std::move(numbers), std::move(target), std::move(options)) {}
  /// With the caller's executor, which must live on and is used within next() only. `ahead` does not matter then.
  Loader(const Dataset& dataset, std::vector<Index> numbers, Preprocessing target, LoaderOptions options,
         ExecutorRef executor)
      : Loader(std::optional(executor), dataset, std::move(numbers), std::move(target), std::move(options)) {}
  ~Loader() { stop(); }
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

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
  Loader(std::optional<ExecutorRef> executor, const Dataset& dataset, std::vector<Index> numbers, Preprocessing target,
         LoaderOptions options)
      : maker_(dataset, std::move(numbers), std::move(target), std::move(options)), executor_(executor) {
    const Index images = maker_.options().batch, buffers = executor ? 1 : maker_.options().ahead + 1;
    for (Index i = 0; i < buffers; ++i) buffers_.emplace_back(images, maker_.values());
    start();
  }

  detail::BatchBuffer& buffer(Index batch) { return buffers_[static_cast<std::size_t>(batch % std::ssize(buffers_))]; }

  void make(Index batch, ExecutorRef executor) {
    const Index place = begin_ + batch;
    maker_.make(place / maker_.steps(), place % maker_.steps(), buffer(batch), executor, stop_);
  }

  Batch make_now() {
    make(taken_, *executor_);
    return buffer(taken_++).view(maker_.values());
  }

  Batch take() {
    if (!thread_.joinable()) fail("loader: it has no thread, as seek() could not start one");
    std::unique_lock lock(mutex_);
    released_ = taken_;
    room_.notify_one();
    ready_.wait(lock, [&] { return made_ > taken_; });
    const detail::BatchBuffer& prepared = buffer(taken_);
    if (prepared.failure) std::rethrow_exception(prepared.failure);
    ++taken_;
    return prepared.view(maker_.values());
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

  detail::BatchMaker maker_;
  std::optional<ExecutorRef> executor_;
  std::vector<detail::BatchBuffer> buffers_;  // batch i lies in buffer i modulo their number
  Index begin_ = 0;                           // epoch * steps + step of batch 0

  std::mutex mutex_;  // of what follows
  std::condition_variable room_;
  std::condition_variable ready_;
  Index made_ = 0;
  Index taken_ = 0;     // written by the caller's thread only
  Index released_ = 0;  // batches whose buffers may be used again
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace moevit
