/// Threads are the caller's: the executor concept, a serial executor and a reference to any executor.
#pragma once

#include <moevit/core/function_ref.hpp>
#include <moevit/core/tensor.hpp>

#include <concepts>
#include <memory>
#include <type_traits>

namespace moevit {

/// Tasks, by their number and that of the worker.
using TaskRef = FunctionRef<void(Index task, Index worker)>;

/// Something that runs tasks: run(n, f) calls f(task, worker) once for each task of 0..n-1, with worker in
/// 0..workers()-1 and never two calls with one worker at a time, returns when all are done, and passes on an exception
/// of a task. Which worker runs a task does not change any result of this library, if workers compute in the
/// floating-point environment of the caller (see FloatEnvironment). A task does not call run() of the same executor.
template <class E>
concept Executor = requires(E& executor, Index tasks, TaskRef task) {
  { executor.workers() } -> std::convertible_to<Index>;
  executor.run(tasks, task);
};

/// Runs everything on the calling thread.
struct SerialExecutor {
  Index workers() const { return 1; }
  void run(Index tasks, TaskRef task) const {
    for (Index i = 0; i < tasks; ++i) task(i, 0);
  }
};

/// A reference to an executor of any type, which must outlive it. Without one: serial.
class ExecutorRef {
 public:
  ExecutorRef() = default;
  template <Executor E>
  requires(!std::same_as<std::remove_cvref_t<E>, ExecutorRef>) ExecutorRef(E& executor)
      : object_(std::addressof(executor)),
        workers_(static_cast<Index>(executor.workers())),
        run_([](void* object, Index tasks, TaskRef task) { static_cast<E*>(object)->run(tasks, task); }) {}

  Index workers() const { return workers_; }
  void run(Index tasks, TaskRef task) const {
    if (run_ && tasks > 1)
      run_(object_, tasks, task);
    else
      SerialExecutor{}.run(tasks, task);
  }

 private:
  void* object_ = nullptr;
  Index workers_ = 1;
  void (*run_)(void*, Index, TaskRef) = nullptr;
};

}  // namespace moevit
