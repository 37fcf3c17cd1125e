/// Trains a model, so that a run which is killed at any moment goes on to the same bits.
#pragma once

#include <moevit/io/weights.hpp>
#include <moevit/train/clipping.hpp>
#include <moevit/train/training_monitor.hpp>
#include <moevit/train/training_record.hpp>
#include <moevit/train/training_task.hpp>

#include <optional>
#include <string>
#include <utility>

namespace moevit {

/// Trains a model in steps: batch, forward, losses, backward, clipping, optimiser, average. It writes to its folder
/// what TrainingFiles lists. If a checkpoint is there, the run goes on from it; weights, log and best weights are then
/// those of a run that was never interrupted, bit for bit, on the same machine and build, with any number of threads.
/// What is particular to classification, segmentation or detection is in TrainingTask.
///
///     initialise(net.parameters(), {.seed = 1});
///     Trainer trainer(net, {dataset, validation_split(dataset)}, {.folder = "run", .steps = 1000});
///     trainer.run();
template <class Net>
class Trainer {
  using Task = TrainingTask<Net>;
  using Data = BasicTrainingData<typename Task::Data>;
  using LoaderType = typename Task::LoaderType;
  using Batch = typename LoaderType::Batch;

 public:
  /// `net`: initialised or loaded; it and the data set must live on, and the net stay where it is. Throws Error when
  /// options, model and data do not fit together, and when a class has no images.
  Trainer(Net& net, BasicTrainingData<typename TrainingTask<Net>::Data> data, TrainerOptions options)
      : net_(net),
        options_(completed(std::move(options))),
        data_(checked(std::move(data))),
        record_(options_.folder),
        pass_(net, options_),
        state_(pass_.parameters(net), options_),
        gradients_(trained_of(pass_.gradients(), options_.optimizer.trains)),
        loader_(data_.dataset, data_.split.training, net.preprocessing(), Task::loader_options(options_)) {
    if (!data_.dataset.class_names().empty()) net.set_class_names(data_.dataset.class_names());
    if (!data_.split.validation.empty())
      validation_.emplace(
          data_.dataset, data_.split.validation, net.preprocessing(),
          typename LoaderType::Options{
              .batch = options_.loader.batch, .order = BatchOrder::as_given, .last_batch = LastBatch::kept});
    print_ = fingerprint(options_);
    add_data(data_, print_);
    Task::add_to(print_, data_, options_);
    for (const auto& [key, value] : to_metadata({net.description(), net.preprocessing(), net.class_names()}))
      print_["model, " + key] = value;
  }
  Trainer(const Trainer&) = delete;

  const TrainingFiles& files() const { return record_.files(); }
  /// Parameters, optimiser and progress.
  const TrainingState& state() const { return state_; }

  /// A copy of the optimiser's state.
  OptimizerState optimizer_state() { return state_.optimizer_state(); }
  /// Starts the optimiser with what another run's remembers, e.g. that of a dense model, see upcycled(). Before run();
  /// a run that is to be resumed needs the same call again, as the checkpoint tells by its fingerprint. Throws Error
  /// when it does not fit this model and kind of optimiser.
  void start_optimizer(const OptimizerState& state) {
    if (record_.checkpoint_step() >= 0) fail("training: the optimiser's start must be set before the run begins");
    state_.start_optimizer(state);
    detail::add_optimizer_start(state, print_);
  }

  /// Trains to the end. Afterwards the net has the final weights, those of the average if there is one. Throws Error
  /// that names the step, the reason, the place of numbers that are not finite, and the last good checkpoint.
  TrainingResult run(TrainingMonitor& monitor) {
    begin();
    monitor.started(progress().step, options_.steps);
    while (!is_over()) step(monitor);
    guarded(progress().step, [&] { finish(); });
    monitor.finished(progress().step);
    return {progress().step, progress().best_step, progress().best_accuracy, progress().best_loss};
  }
  TrainingResult run() {
    TrainingMonitor nobody;
    return run(nobody);
  }

 private:
  static TrainerOptions completed(TrainerOptions options) {
    check_options(options);
    options.loader.seed = options.seed;
    if (options.schedule.total == 0) options.schedule.total = options.steps;
    return options;
  }
  Data checked(Data data) const {
    Task::check(net_, data, options_);
    return data;
  }

  TrainingProgress& progress() { return state_.progress; }

  bool is_over() {
    const bool gave_up = options_.patience > 0 && progress().best_step > 0 &&
                         progress().step - progress().best_step >= options_.patience * options_.evaluate_every;
    return progress().step >= options_.steps || gave_up;
  }

  void begin() {
    record_.begin(state_, print_);
    pass_.noise().set_counter(progress().noise_counter);
    loader_.seek(progress().step / loader_.steps_per_epoch(), progress().step % loader_.steps_per_epoch());
  }

  /// One step with everything that belongs to it; the checkpoint comes last, so that it holds all of it.
  void step(TrainingMonitor& monitor) {
    const Index number = progress().step + 1;
    const Batch batch = guarded(number, [&] { return loader_.next(); });
    const StepLosses losses = guarded(
        number, [&] { return learn(batch); }, Finite::suspected);
    ++progress().step;
    guarded(number, [&] {
      if (is_due(options_.log_every)) log_training(monitor);
      if (is_due(options_.evaluate_every) && validation_) evaluate(monitor);
      if (is_due(options_.checkpoint_every)) record_.checkpoint(state_, print_);
    });
    monitor.step_done({number, options_.steps, losses.loss});
  }
  bool is_due(Index every) { return progress().step == options_.steps || (every > 0 && progress().step % every == 0); }

  StepLosses learn(const Batch& batch) {
    const StepLosses losses = pass_.compute(net_, batch, progress().step);
    pass_.follow_statistics(net_);
    const ExecutorRef executor = pass_.executor();
    const double norm = options_.clip > 0 ? clip_by_global_norm(gradients_, options_.clip, executor)
                                          : global_norm(gradients_, executor);
    state_.update(gradients_, options_.schedule.at(progress().step), executor);
    StepSums& sums = progress().sums;
    sums.loss += losses.loss, sums.auxiliary += losses.auxiliary, sums.router += losses.router;
    sums.norm += norm, ++sums.steps;
    progress().noise_counter = pass_.noise().counter();
    return losses;
  }

  void log_training(TrainingMonitor& monitor) {
    const Index last = progress().step - 1;
    const TrainingEntry entry =
        std::exchange(progress().sums, {})
            .mean(progress().step, last / loader_.steps_per_epoch(), options_.schedule.at(last));
    record_.add(entry);
    monitor.logged(entry);
  }

  /// Evaluates the average if there is one, and saves the weights if none before were better.
  void evaluate(TrainingMonitor& monitor) {
    state_.swap_average();
    const Evaluation found = guarded(
        progress().step, [&] { return pass_.evaluate(net_, *validation_); }, Finite::suspected);
    TrainingProgress& now = progress();
    const bool is_best =
        found.accuracy > now.best_accuracy || (found.accuracy == now.best_accuracy && found.loss < now.best_loss);
    if (is_best) {
      now.best_step = now.step, now.best_accuracy = found.accuracy, now.best_loss = found.loss;
      save(net_, files().best());
    }
    state_.swap_average();
    const EvaluationEntry entry{now.step, found.loss, found.accuracy, is_best, found.router_accuracy};
    record_.add(entry);
    record_.write_curves();
    monitor.evaluated(entry);
  }

  void finish() {
    if (record_.checkpoint_step() != progress().step) record_.checkpoint(state_, print_);
    state_.swap_average();
    save(net_, files().weights());
    record_.write_curves();
  }

  enum class Finite : unsigned char { yes, suspected };

  /// Calls work(); an Error says at which step it was and where to go on.
  template <class Work>
  auto guarded(Index number, Work work, Finite finite = Finite::yes) -> decltype(work()) {
    try {
      return work();
    } catch (const StoppedError&) {
      throw;
    } catch (const Error& error) {
      std::string message = "training stopped at step " + std::to_string(number) + ": " + error.what();
      if (finite == Finite::suspected)
        if (const std::string place = pass_.find_not_finite(net_); !place.empty())
          message += "\nThe first numbers that are not finite: " + place;
      message += record_.last_good();
      throw StoppedError(message);
    }
  }
  /// An Error whose message is already whole.
  struct StoppedError : Error {
    using Error::Error;
  };

  Net& net_;
  TrainerOptions options_;
  Data data_;
  TrainingRecord record_;
  typename Task::Pass pass_;
  TrainingState state_;
  std::vector<Parameter> gradients_;  ///< of what is trained
  LoaderType loader_;
  std::optional<LoaderType> validation_;
  Fingerprint print_;
};

}  // namespace moevit
