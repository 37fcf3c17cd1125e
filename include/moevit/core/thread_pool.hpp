/// A small pool of threads: an Executor with a static partition.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/executor.hpp>
#include <moevit/core/float_environment.hpp>
#include <moevit/core/spin.hpp>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace moevit {

/// `threads` workers, the calling thread among them. Worker w runs the tasks [n w / threads, n (w + 1) / threads), in
/// that order, in the floating-point environment of the caller (see FloatEnvironment).
///
/// Between runs workers wait for up to 80 microseconds before they sleep, and so does run() for the slowest of them:
/// waking a thread takes longer than many a stage of a model (see Spinner).
class ThreadPool {
 public:
  /// Throws Error when threads < 1 or the system gives no more threads.
  explicit ThreadPool(Index threads)
      : workers_(threads), spinner_(threads > static_cast<Index>(available_processors())) {
    if (threads < 1) fail("thread pool: expected at least 1 thread, found ", threads);
    failures_.resize(static_cast<std::size_t>(threads));
    threads_.reserve(static_cast<std::size_t>(threads - 1));
    try {
      for (Index worker = 1; worker < threads; ++worker)
        threads_.emplace_back([this, worker, spinner = spinner_] { serve(worker, spinner); });
    } catch (const std::system_error& error) {
      stop();
      fail("thread pool: only ", threads_.size() + 1, " of ", threads, " threads could be started: ", error.what());
    }
  }
  ~ThreadPool() { stop(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  Index workers() const { return workers_; }

  /// As Executor says. A worker stops at its first exception, the others finish their tasks; then the exception of the
  /// lowest task that failed is passed on, the one that serial execution meets, and the pool may be used again.
  /// Throws Error when the pool is running already: from a task, or from another thread.
  void run(Index tasks, TaskRef task) {
    if (running_.exchange(true, std::memory_order_acquire))
      fail("thread pool: it runs already; a task must not use the pool it runs on, nor two threads one pool at once");
    const Release release{running_};
    if (tasks <= 1 || workers_ == 1) return SerialExecutor{}.run(tasks, task);
    tasks_ = tasks;
    task_ = &task;
    environment_ = FloatEnvironment::current();
    pending_.store(workers_ - 1, std::memory_order_relaxed);
    begin_round();
    work(0);
    wait(spinner_, joiners_, [this] { return pending_.load() == 0; });
    if (failed_.load(std::memory_order_relaxed)) rethrow();
  }

 private:
  struct Release {
    std::atomic<bool>& running;
    ~Release() { running.store(false, std::memory_order_release); }
  };

  /// Threads that sleep until something happens.
  struct Sleepers {
    std::atomic<Index> count = 0;
    std::condition_variable condition;
  };

  // Either whoever changes what done() reads sees the sleeper in `count`, or the sleeper sees the change: both sides
  // write first and read then, in the one order of sequentially consistent operations.
  template <class Done>
  void wait(Spinner& spinner, Sleepers& sleepers, Done done) {
    if (spinner.wait(done)) return;
    std::unique_lock lock(mutex_);
    ++sleepers.count;
    sleepers.condition.wait(lock, done);
    --sleepers.count;
  }
  void wake(Sleepers& sleepers) {
    if (sleepers.count.load() == 0) return;
    { const std::lock_guard lock(mutex_); }  // a thread that has counted itself sleeps once it gives the mutex back
    sleepers.condition.notify_all();
  }

  void begin_round() {
    ++round_;
    wake(idle_);
  }

  void serve(Index worker, Spinner spinner) {
    for (unsigned seen = 0;;) {
      wait(spinner, idle_, [&] { return round_.load() != seen; });
      ++seen;  // the next round begins only when this one is finished everywhere
      if (stop_) return;
      environment_.apply();
      work(worker);
      if (--pending_ == 0) wake(joiners_);
    }
  }

  void work(Index worker) noexcept {
    try {
      for (Index i = tasks_ * worker / workers_; i < tasks_ * (worker + 1) / workers_; ++i) (*task_)(i, worker);
    } catch (...) {
      failures_[static_cast<std::size_t>(worker)] = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
  }

  void rethrow() {
    failed_.store(false, std::memory_order_relaxed);
    std::exception_ptr first;
    for (std::exception_ptr& failure : failures_)
      if (std::exception_ptr taken = std::exchange(failure, nullptr); !first) first = std::move(taken);
    std::rethrow_exception(first);
  }

  void stop() {
    stop_ = true;
    begin_round();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  static constexpr std::size_t line = 64;  // what changes at different times lies on different cache lines

  // Read by all, written between rounds.
  const Index workers_;
  Index tasks_ = 0;
  const TaskRef* task_ = nullptr;
  FloatEnvironment environment_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
  std::vector<std::exception_ptr> failures_;  // of each worker
  std::atomic<bool> failed_ = false;
  std::atomic<bool> running_ = false;
  Spinner spinner_;  // of whoever calls run()

  alignas(line) std::atomic<unsigned> round_ = 0;
  alignas(line) std::atomic<Index> pending_ = 0;  // workers that have not finished the round
  alignas(line) std::mutex mutex_;
  Sleepers idle_;     // workers without a round
  Sleepers joiners_;  // the caller of run()
};

}  // namespace moevit
