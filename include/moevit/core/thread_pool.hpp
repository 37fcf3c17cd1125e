/// A small pool of threads: an Executor whose workers help each other out.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/executor.hpp>
#include <moevit/core/float_environment.hpp>
#include <moevit/core/spin.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace moevit {

/// `threads` workers, the calling thread among them. Worker w begins with the tasks [n w / threads, n (w + 1) /
/// threads), in that order, so that what it touched in one stage of a model is in its cache in the next; when they are
/// done it takes tasks from the end of other workers' shares. Tasks run in the floating-point environment of the caller
/// (see FloatEnvironment).
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
    shares_ = std::vector<TaskShare>(static_cast<std::size_t>(threads));
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

  /// As Executor says. A worker stops at its first exception, the others go on; then the exception of the lowest task
  /// that failed is passed on, the one that serial execution meets, and the pool may be used again. Throws Error when
  /// the pool is running already: from a task, or from another thread.
  void run(Index tasks, TaskRef task) {
    if (running_.exchange(true, std::memory_order_acquire))
      fail("thread pool: it runs already; a task must not use the pool it runs on, nor two threads one pool at once");
    const Release release{running_};
    if (tasks <= 1 || workers_ == 1) return SerialExecutor{}.run(tasks, task);
    if (tasks > most_tasks) fail("thread pool: expected at most ", most_tasks, " tasks, found ", tasks);
    for (Index worker = 0; worker < workers_; ++worker)
      share_of(worker).assign(tasks * worker / workers_, tasks * (worker + 1) / workers_);
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

  static constexpr std::size_t line = 64;           // what changes at different times lies on different cache lines
  static constexpr Index most_tasks = 0xffff'ffff;  // what half a word of TaskShare holds

  /// The tasks of one worker that nobody has begun: [first, last), in one word, so that whoever takes one sees both.
  class alignas(line) TaskShare {
   public:
    static constexpr Index none = -1;

    void assign(Index first, Index last) { range_.store(word(first, last), std::memory_order_relaxed); }
    Index take_first() {
      return take([](Index& first, Index&) { return first++; });
    }
    Index take_last() {
      return take([](Index&, Index& last) { return --last; });
    }

   private:
    static constexpr unsigned bits = 32;
    static std::uint64_t word(Index first, Index last) {
      return static_cast<std::uint64_t>(first) << bits | static_cast<std::uint64_t>(last);
    }
    // Relaxed: what tasks read and write is handed over by round_ and pending_.
    template <class Choose>
    Index take(Choose choose) {
      for (std::uint64_t old = range_.load(std::memory_order_relaxed);;) {
        auto first = static_cast<Index>(old >> bits), last = static_cast<Index>(old & most_tasks);
        if (first == last) return none;
        const Index task = choose(first, last);
        if (range_.compare_exchange_weak(old, word(first, last), std::memory_order_relaxed)) return task;
      }
    }
    std::atomic<std::uint64_t> range_ = 0;
  };
  struct Failure {
    Index task = TaskShare::none;
    std::exception_ptr exception;
  };

  TaskShare& share_of(Index worker) { return shares_[static_cast<std::size_t>(worker)]; }

  /// The next task for a worker, or TaskShare::none.
  Index take_task(Index worker) {
    Index task = share_of(worker).take_first();
    for (Index other = 1; task == TaskShare::none && other < workers_; ++other)
      task = share_of((worker + other) % workers_).take_last();
    return task;
  }

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
    Index task = TaskShare::none;
    try {
      while ((task = take_task(worker)) != TaskShare::none) (*task_)(task, worker);
    } catch (...) {
      failures_[static_cast<std::size_t>(worker)] = {task, std::current_exception()};
      failed_.store(true, std::memory_order_relaxed);
    }
  }

  // The lowest task that fails is always begun: its own worker begins all before it, unless others did, and none fails.
  void rethrow() {
    failed_.store(false, std::memory_order_relaxed);
    Failure first;
    for (Failure& failure : failures_)
      if (Failure taken = std::exchange(failure, {}); taken.exception && (!first.exception || taken.task < first.task))
        first = std::move(taken);
    std::rethrow_exception(first.exception);
  }

  void stop() {
    stop_ = true;
    begin_round();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // Read by all, written between rounds.
  const Index workers_;
  const TaskRef* task_ = nullptr;
  FloatEnvironment environment_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
  std::vector<Failure> failures_;  // of each worker
  std::atomic<bool> failed_ = false;
  std::atomic<bool> running_ = false;
  Spinner spinner_;  // of whoever calls run()

  std::vector<TaskShare> shares_;  // of each worker

  alignas(line) std::atomic<unsigned> round_ = 0;
  alignas(line) std::atomic<Index> pending_ = 0;  // workers that have not finished the round
  alignas(line) std::mutex mutex_;
  Sleepers idle_;     // workers without a round
  Sleepers joiners_;  // the caller of run()
};

}  // namespace moevit
