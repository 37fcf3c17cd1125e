/// What one caller needs to run a model: scratch, routing options, and the plans of the last pass.
#pragma once

#include <moevit/core/thread_pool.hpp>
#include <moevit/core/workspace.hpp>
#include <moevit/moe/routing.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace moevit {

/// What a context is made for.
struct ContextOptions {
  Index images = 1;    ///< most images of one forward pass
  Index threads = 1;   ///< threads of a pool that the context owns; 1: the calling thread
  Index selected = 0;  ///< largest k that will be asked for; 0: the model's own
};

/// Sees a forward pass as it happens, on the calling thread. Views are valid during the call only.
class Observer {
 public:
  virtual ~Observer() = default;
  /// The token stream after a block: (images x tokens) x D.
  virtual void block_output(int /*block*/, ConstMatrixView /*stream*/) {}
  /// The map that enters the first block of a stage of a hierarchical model: rows x width of the stage.
  virtual void stage_input(int /*stage*/, ConstMatrixView /*stream*/) {}
};

/// Runs of a model: made by model.context(), used by one thread at a time. Any number of contexts may share one const
/// model. After it has been made, forward passes allocate nothing (options that need more room than was reserved make
/// it once).
class Context {
 public:
  RoutingOptions routing;
  Observer* observer = nullptr;

  /// `sparse` tells for each block which routing it uses, -1 for a dense one; `routings` is their number.
  Context(ScratchBytes scratch, ContextOptions options, ExecutorRef executor, std::vector<int> sparse, Index routings)
      : images_(options.images),
        sparse_(std::move(sparse)),
        routings_(static_cast<std::size_t>(routings)),
        executor_(executor) {
    if (options.images < 1) fail("context: expected at least 1 image, found ", options.images);
    if (options.threads < 1) fail("context: expected at least 1 thread, found ", options.threads);
    if (options.threads > 1) {
      pool_ = std::make_unique<ThreadPool>(options.threads);
      executor_ = ExecutorRef(*pool_);
    }
    workspace_.emplace(scratch, executor_);
  }

  /// Most images of one pass.
  Index images() const { return images_; }
  Workspace& workspace() { return *workspace_; }
  const Workspace& workspace() const { return *workspace_; }
  /// Replaces the scratch by a larger one where options ask for more than it has.
  void ensure(ScratchBytes scratch) {
    const Index per_worker = workspace_->worker_arenas().front().capacity();
    if (scratch.shared <= workspace_->shared().capacity() && scratch.per_worker <= per_worker) return;
    workspace_.emplace(one_after_the_other(scratch, {workspace_->shared().capacity(), per_worker}), executor_);
  }

  /// The plan of a sparse block in the last pass. Throws Error when the block is not sparse.
  const SparsePlan& plan(int block) const { return routing_of(block).plan; }
  /// The soft plan of a block in the last pass. Throws Error when the block is not sparse.
  const SoftPlan& soft_plan(int block) const { return routing_of(block).soft; }
  /// Plan, gates and logits of a sparse block in the last pass. Throws Error when the block is not sparse.
  const Routing& routing_of(int block) const { return routings_[find(block)]; }
  Routing& routing_of(int block) { return routings_[find(block)]; }
  std::vector<Routing>& routings() { return routings_; }
  bool is_sparse(int block) const {
    return block >= 0 && static_cast<std::size_t>(block) < sparse_.size() &&
           sparse_[static_cast<std::size_t>(block)] >= 0;
  }
  int depth() const { return static_cast<int>(sparse_.size()); }

  /// Rows that experts multiplied in the last pass, over all sparse blocks.
  Index expert_rows() const { return expert_rows_; }
  void count_expert_rows(Index rows) { expert_rows_ += rows; }
  void start_pass() { expert_rows_ = 0; }

 private:
  std::size_t find(int block) const {
    if (is_sparse(block)) return static_cast<std::size_t>(sparse_[static_cast<std::size_t>(block)]);
    std::string list;
    for (int i = 0; i < depth(); ++i)
      if (is_sparse(i)) list += (list.empty() ? "" : ", ") + std::to_string(i);
    fail("plan of block ", block, ": expected a sparse block (", list.empty() ? "this model has none" : list, ")");
  }

  Index images_;
  std::vector<int> sparse_;
  std::vector<Routing> routings_;
  std::unique_ptr<ThreadPool> pool_;
  ExecutorRef executor_;
  std::optional<Workspace> workspace_;
  Index expert_rows_ = 0;
};

}  // namespace moevit
