/// Who watches a training run, and what they are told.
#pragma once

#include <moevit/train/training_log.hpp>

namespace moevit {

/// One step, when it is over.
struct StepReport {
  Index step = 0;  ///< steps done
  Index steps = 0;
  double loss = 0;
};

/// How a run ended.
struct TrainingResult {
  Index step = 0;       ///< steps done; fewer than asked for when patience was over
  Index best_step = 0;  ///< 0: nothing was evaluated
  double best_accuracy = 0;
  double best_loss = 0;
};

/// Called by Trainer::run on its thread; an exception ends the run, which can be resumed from its last checkpoint.
class TrainingMonitor {
 public:
  virtual ~TrainingMonitor() = default;
  /// `step`: 0, or where the run goes on.
  virtual void started(Index /*step*/, Index /*steps*/) {}
  virtual void logged(const TrainingEntry& /*entry*/) {}
  virtual void evaluated(const EvaluationEntry& /*entry*/) {}
  virtual void step_done(const StepReport& /*report*/) {}
  virtual void finished(Index /*step*/) {}
};

}  // namespace moevit
