/// A small pool of threads: an Executor with a static partition.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/executor.hpp>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace moevit {

/// `threads` workers, the calling thread among them. Worker w runs the tasks [n w / threads, n (w + 1) / threads).
/// One run at a time; the only locks are those of fork and join.
class ThreadPool {
 public:
  /// Throws Error when threads < 1.
  explicit ThreadPool(Index threads) : workers_(threads) {
    if (threads < 1) fail("thread pool: expected at least 1 thread, found ", threads);
    threads_.reserve(static_cast<std::size_t>(threads - 1));
    for (Index worker = 1; worker < threads; ++worker) threads_.emplace_back([this, worker] { serve(worker); });
  }
  ~ThreadPool() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    fork_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  Index workers() const { return workers_; }

  void run(Index tasks, TaskRef task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_ = tasks;
      task_ = &task;
      pending_ = workers_ - 1;
      failure_ = nullptr;
      ++round_;
    }
    fork_.notify_all();
    work(0);
    std::unique_lock lock(mutex_);
    join_.wait(lock, [this] { return pending_ == 0; });
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void serve(Index worker) {
    for (long seen = 0;;) {
      {
        std::unique_lock lock(mutex_);
        fork_.wait(lock, [&] { return stop_ || round_ != seen; });
        if (stop_) return;
        seen = round_;
      }
      work(worker);
      const std::lock_guard lock(mutex_);
      if (--pending_ == 0) join_.notify_one();
    }
  }

  void work(Index worker) {
    try {
      for (Index i = tasks_ * worker / workers_; i < tasks_ * (worker + 1) / workers_; ++i) (*task_)(i, worker);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }

  const Index workers_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable fork_;
  std::condition_variable join_;
  Index tasks_ = 0;
  const TaskRef* task_ = nullptr;
  Index pending_ = 0;
  long round_ = 0;
  bool stop_ = false;
  std::exception_ptr failure_;
};

}  // namespace moevit
