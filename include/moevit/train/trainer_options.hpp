/// Everything that a training run depends on.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/models/drop.hpp>
#include <moevit/models/fcos_decoding.hpp>
#include <moevit/moe/expert_names.hpp>
#include <moevit/moe/losses.hpp>
#include <moevit/moe/routing_options.hpp>
#include <moevit/train/averaging.hpp>
#include <moevit/train/dense_augment.hpp>
#include <moevit/train/fcos_loss.hpp>
#include <moevit/train/loader.hpp>
#include <moevit/train/router_teacher.hpp>
#include <moevit/train/schedule.hpp>
#include <moevit/train/segmentation_losses.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace moevit {

enum class OptimizerKind : unsigned char { adamw, sgd, adafactor };

/// The word for an optimiser in options and messages.
inline const char* name_of(OptimizerKind kind) {
  return kind == OptimizerKind::adamw ? "adamw" : kind == OptimizerKind::sgd ? "sgd" : "adafactor";
}

/// Which parameters weight decay shrinks, see DecayMask.
enum class DecayedParameters : unsigned char { kernels_but_routers, kernels, all };

/// Which parameters are trained; the others keep their first values, have no state and no part in the clipped norm.
enum class TrainedPart : unsigned char {
  all,
  all_but_cores,  ///< the common cores of residual experts are frozen
  added           ///< experts (of residual ones: the residuals), routers and heads: what upcycling added, and heads
};

/// Whether a parameter is trained.
inline bool is_trained(TrainedPart which, const Parameter& parameter) {
  switch (which) {
    case TrainedPart::all_but_cores:
      return !detail::is_expert_core(parameter.name);
    case TrainedPart::added:
      return parameter.role == Role::expert || parameter.role == Role::router || parameter.role == Role::head;
    case TrainedPart::all:
      break;
  }
  return true;
}

/// What Adafactor alone has, see AdafactorOptions.
struct AdafactorTraining {
  Index factored_from = 128;
  double decay_exponent = 0.8;
  double clip = 1;
  bool scale_by_parameter = true;
  double momentum = 0;
};

/// Options of the optimiser; those of the other kinds mean nothing. Weight decay is times the learning rate.
struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::adamw;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double momentum = 0.9;  ///< of SGD
  bool nesterov = false;
  AdafactorTraining adafactor = {};
  double weight_decay = 0.05;
  DecayedParameters decays = DecayedParameters::kernels_but_routers;
  TrainedPart trains = TrainedPart::all;
};

/// Who chooses the expert of an image in a Mobile V-MoE; all but the first are ablations.
enum class ImageRouting : unsigned char {
  learned,      ///< the router
  super_class,  ///< the true super-class of the image, which nobody knows outside of experiments
  random        ///< an expert of its own at random, always the same
};

/// What the routers of a model do while it is trained; the model's own options decide the rest and all evaluations.
struct RouterTraining {
  double noise_std = 0;               ///< V-MoE's noise, see RoutingOptions; V-MoE trains with 1
  double capacity_ratio = unlimited;  ///< V-MoE trains with 1.05
  bool aligned_gradients = false;     ///< of Residual MoE, see RoutingOptions
  AuxiliaryLossWeights losses = {};   ///< of top-k routers, added up over the sparse blocks
  /// The super-class of each class, which is its expert: the router of a Mobile V-MoE learns it by a loss of this
  /// weight. Empty: no such loss.
  std::vector<std::int32_t> super_classes = {};
  double super_class_weight = 0.3;
  ImageRouting routing = ImageRouting::learned;  ///< in training and in evaluations
  RoutingGuidance guidance = {};                 ///< by a dense teacher
};

/// What only the training of segmenters and detectors has.
struct DenseTraining {
  DenseAugmentation augmentation = {};
  /// Factor of the learning rate for the backbone's parameters, which may be trained already.
  double backbone_rate = 1;
  SegmentationLossOptions segmentation = {};  ///< class_weights are those below
  std::vector<float> class_weights = {};      ///< of segmentation, one per class; empty: 1
  FcosLossOptions detection = {};
  DetectionOptions decoding = {};  ///< of detections in evaluations
};

/// Names and values of what a run depends on, so that a checkpoint can tell when it is another run's.
using Fingerprint = std::map<std::string, std::string>;

/// Options of Trainer.
struct TrainerOptions {
  std::filesystem::path folder;  ///< where everything is written; made when it is not there
  Index steps = 1000;
  LoaderOptions loader = {};  ///< batch size, augmentation, order; its seed is replaced by the one below
  std::uint64_t seed = 1;     ///< of data order, augmentation, mixup, cutmix, drop and router noise
  Schedule schedule = {};     ///< total 0: `steps`
  OptimizerOptions optimizer = {};
  double clip = 1;  ///< global norm of the gradients; 0: not clipped
  double label_smoothing = 0;
  double mixup = 0;                 ///< alpha of the Beta distribution, up to 4; 0: none
  double cutmix = 0;                ///< the same
  double cutmix_probability = 0.5;  ///< of cutmix rather than mixup in a step, where both alphas are above 0
  DropRates drop = {};
  RouterTraining router = {};
  DenseTraining dense = {};
  std::optional<AveragingOptions> averaging = {};  ///< evaluated and saved weights are the average's
  /// What else the run depends on, such as how the first weights were drawn: compared when it is resumed.
  Fingerprint notes = {};

  // What follows changes no step.
  Index evaluate_every = 200;    ///< steps; 0: only at the end
  Index checkpoint_every = 200;  ///< steps; 0: only at the end
  Index log_every = 20;          ///< steps that one line of the log is the mean of
  Index patience = 0;            ///< stops after so many evaluations without a better one; 0: never
  Index threads = 1;
  bool recompute = false;  ///< saves memory, see BackpropagationOptions::checkpoint
};

namespace detail {

/// Text from which the same number is read again.
inline std::string exact_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}
inline std::string exact_text(Index value) { return std::to_string(value); }
inline std::string exact_text(std::uint64_t value) { return std::to_string(value); }
inline std::string exact_text(bool value) { return value ? "yes" : "no"; }
template <class Enum>
requires std::is_enum_v<Enum> std::string exact_text(Enum value) { return std::to_string(static_cast<int>(value)); }
template <class T>
std::string exact_list(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text.append(text.empty() ? "" : " ").append(std::to_string(static_cast<int>(value)));
  return text;
}

inline void add_augmentation(const Augmentation& augmentation, Fingerprint& print) {
  print["crop padding"] = exact_text(augmentation.crop_padding);
  print["flips"] = exact_text(augmentation.flip);
  print["shift"] = exact_text(augmentation.shift);
  print["augmentation operations"] = exact_text(augmentation.operations);
  print["augmentation magnitude"] = exact_text(augmentation.magnitude);
  print["augmentation list"] = exact_list(augmentation.list);
  print["augmentation fill"] = exact_text(Index{augmentation.fill});
}

inline void add_schedule(const Schedule& schedule, Fingerprint& print) {
  print["learning rate"] = exact_text(schedule.peak);
  print["learning rate decay"] = exact_text(schedule.decay);
  print["warm-up"] = exact_text(schedule.warmup);
  print["schedule steps"] = exact_text(schedule.total);
  print["learning rate at the start"] = exact_text(schedule.start);
  print["learning rate at the end"] = exact_text(schedule.end);
  print["timescale"] = exact_text(schedule.timescale);
  print["cooldown"] = exact_text(schedule.cooldown);
}

inline void add_optimizer(const OptimizerOptions& optimizer, Fingerprint& print) {
  print["optimizer"] = name_of(optimizer.kind);
  print["beta1"] = exact_text(optimizer.beta1);
  print["beta2"] = exact_text(optimizer.beta2);
  print["epsilon"] = exact_text(optimizer.epsilon);
  print["momentum"] = exact_text(optimizer.momentum);
  print["nesterov"] = exact_text(optimizer.nesterov);
  print["Adafactor, factored from"] = exact_text(optimizer.adafactor.factored_from);
  print["Adafactor, decay exponent"] = exact_text(optimizer.adafactor.decay_exponent);
  print["Adafactor, clipping"] = exact_text(optimizer.adafactor.clip);
  print["Adafactor, scaled by parameter"] = exact_text(optimizer.adafactor.scale_by_parameter);
  print["Adafactor, momentum"] = exact_text(optimizer.adafactor.momentum);
  print["weight decay"] = exact_text(optimizer.weight_decay);
  print["decayed parameters"] = exact_text(optimizer.decays);
  if (optimizer.trains != TrainedPart::all) print["trained parameters"] = exact_text(optimizer.trains);
}

inline void add_guidance(const RoutingGuidance& guidance, Fingerprint& print) {
  if (guidance.steps == GuidedSteps::none) return;
  print["guided steps"] = exact_text(guidance.steps);
  print["guidance"] = exact_text(guidance.weight);
  print["teacher router balance"] = exact_text(guidance.teacher_losses.balance);
  print["teacher router entropy"] = exact_text(guidance.teacher_losses.entropy);
  print["teacher"] = guidance.teacher ? guidance.teacher->identity() : "none";
}

inline void add_drop(const DropRates& rates, Fingerprint& print) {
  print["dropout"] = exact_text(rates.dropout);
  print["expert dropout"] = exact_text(rates.expert_dropout);
  print["stochastic depth"] = exact_text(rates.stochastic_depth);
}

inline void add_router(const RouterTraining& router, Fingerprint& print) {
  print["router noise"] = exact_text(router.noise_std);
  print["capacity ratio"] = exact_text(router.capacity_ratio);
  print["aligned gradients"] = exact_text(router.aligned_gradients);
  print["importance loss"] = exact_text(router.losses.importance);
  print["load loss"] = exact_text(router.losses.load);
  print["GShard loss"] = exact_text(router.losses.gshard);
  print["z-loss"] = exact_text(router.losses.z);
  print["super-classes"] = exact_list(router.super_classes);
  print["super-class loss"] = exact_text(router.super_class_weight);
  print["image routing"] = exact_text(router.routing);
  add_guidance(router.guidance, print);
}

}  // namespace detail

/// Of the options that weights, log or best evaluation depend on. Threads and the places of checkpoints are not among
/// them.
inline Fingerprint fingerprint(const TrainerOptions& options) {
  using detail::exact_text;
  Fingerprint print;
  print["steps"] = exact_text(options.steps);
  print["seed"] = exact_text(options.seed);
  print["batch"] = exact_text(options.loader.batch);
  print["order"] = exact_text(options.loader.order);
  print["last batch"] = exact_text(options.loader.last_batch);
  print["clipping"] = exact_text(options.clip);
  print["label smoothing"] = exact_text(options.label_smoothing);
  print["mixup"] = exact_text(options.mixup);
  print["cutmix"] = exact_text(options.cutmix);
  print["cutmix probability"] = exact_text(options.cutmix_probability);
  print["averaging"] = options.averaging ? exact_text(options.averaging->decay) : "none";
  print["averaging warm-up"] = exact_text(options.averaging && options.averaging->warm_up);
  print["evaluation every"] = exact_text(options.evaluate_every);
  print["log every"] = exact_text(options.log_every);
  print["patience"] = exact_text(options.patience);
  detail::add_augmentation(options.loader.augmentation, print);
  detail::add_schedule(options.schedule, print);
  detail::add_optimizer(options.optimizer, print);
  detail::add_drop(options.drop, print);
  detail::add_router(options.router, print);
  for (const auto& [name, value] : options.notes) print["note, " + name] = value;
  return print;
}

/// Throws Error when numbers make no sense. Parts check their own when they are made.
inline void check_options(const TrainerOptions& options) {
  const auto at_least = [](const char* what, Index value, Index least) {
    if (value < least) fail("training: expected ", what, " of at least ", least, ", found ", value);
  };
  if (options.folder.empty()) fail("training: expected a folder to write to, found none");
  at_least("a number of steps", options.steps, 1);
  at_least("steps between evaluations", options.evaluate_every, 0);
  at_least("steps between checkpoints", options.checkpoint_every, 0);
  at_least("steps per line of the log", options.log_every, 1);
  at_least("a patience", options.patience, 0);
  at_least("a number of threads", options.threads, 1);
  if (!(options.clip >= 0)) fail("training: expected a norm to clip to from 0 up, found ", options.clip);
  if (!(options.mixup >= 0 && options.mixup <= 4)) fail("mixup: expected an alpha from 0 to 4, found ", options.mixup);
  if (!(options.cutmix >= 0 && options.cutmix <= 4))
    fail("cutmix: expected an alpha from 0 to 4, found ", options.cutmix);
  if (!(options.cutmix_probability >= 0 && options.cutmix_probability <= 1))
    fail("cutmix: expected a probability from 0 to 1, found ", options.cutmix_probability);
  options.drop.check();
  if (!(options.dense.backbone_rate >= 0))
    fail("training: expected a factor of the backbone's learning rate from 0 up, found ", options.dense.backbone_rate);
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    fail("label smoothing: expected 0 to below 1, found ", options.label_smoothing);
  if (options.patience > 0 && options.evaluate_every == 0)
    fail("training: a patience of ", options.patience, " evaluations needs evaluations before the end");
}

}  // namespace moevit
