/// What a layer computes with: scratch memory and an executor.
#pragma once

#include <moevit/core/arena.hpp>
#include <moevit/core/executor.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace moevit {

/// Bytes of scratch: what all workers share, and what each of them has for itself.
struct ScratchBytes {
  Index shared = 0;
  Index per_worker = 0;

  constexpr Index total(Index workers) const { return shared + workers * per_worker; }
};

/// Scratch of parts that run one after the other: the larger of each.
constexpr ScratchBytes one_after_the_other(ScratchBytes a, ScratchBytes b) {
  return {std::max(a.shared, b.shared), std::max(a.per_worker, b.per_worker)};
}

/// Rows of the largest block when up to `rows` rows are cut into blocks of at most `most`. Fewer rows than that may
/// make a larger block: 131 rows are blocks of 66 and 65, 100 rows are one of 100.
constexpr Index largest_block(Index rows, Index most) { return std::min(rows, most); }

/// Most rows that a training pass takes at a time where each needs `floats` floats on its way back: a few megabytes, so
/// that each of several threads has about one of them in its caches and they seldom wait for each other; at least 256,
/// so that transposed weights serve many. It does not depend on the number of threads, so sums have one order.
constexpr Index rows_of_training_part(Index floats) {
  constexpr Index room = 4 * 1024 * 1024 / static_cast<Index>(sizeof(float));
  return std::max(room / floats, Index{256});
}

/// f(first, own) for nearly equal parts of 0..count-1, as few of them as have at most `most` each, one after the other.
template <class F>
void each_part(Index count, Index most, F f) {
  if (count == 0) return;  // then `most` may be 0
  const Index parts = ceil_div(count, most);
  for (Index part = 0; part < parts; ++part) {
    const Index first = count * part / parts;
    f(first, count * (part + 1) / parts - first);
  }
}

/// Scratch arenas (one shared, one per worker) and the executor that runs tasks on them.
class Workspace {
 public:
  Workspace(ScratchBytes bytes, ExecutorRef executor = {})
      : shared_(bytes.shared),
        workers_(static_cast<std::size_t>(executor.workers()), Arena(bytes.per_worker)),
        executor_(executor) {}

  Arena& shared() { return shared_; }
  const Arena& shared() const { return shared_; }
  const std::vector<Arena>& worker_arenas() const { return workers_; }
  /// For tasks that need no scratch.
  ExecutorRef executor() const { return executor_; }
  Index workers() const { return executor_.workers(); }

  /// f(task, arena of the worker) for each task of 0..tasks-1, in any order and on any worker.
  template <class F>
  void parallel(Index tasks, F&& f) {
    executor_.run(tasks, [&](Index task, Index worker) {
      Arena& arena = workers_[static_cast<std::size_t>(worker)];
      const Arena::Scope scope(arena);
      f(task, arena);
    });
  }

  /// f(first row, rows, arena) over blocks of at most `most` rows of nearly equal height; where rows suffice, their
  /// number is a multiple of that of the workers.
  template <class F>
  void parallel_rows(Index rows, Index most, F&& f) {
    const Index blocks = std::min(ceil_div(ceil_div(rows, most), workers()) * workers(), rows);
    parallel(blocks, [&](Index block, Arena& arena) {
      const Index first = rows * block / blocks;
      f(first, rows * (block + 1) / blocks - first, arena);
    });
  }

 private:
  Arena shared_;
  std::vector<Arena> workers_;
  ExecutorRef executor_;
};

}  // namespace moevit
