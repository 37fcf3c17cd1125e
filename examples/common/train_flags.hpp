/// The command line options of train.
#pragma once

#include <moevit/train/initialise.hpp>
#include <moevit/train/trainer_options.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace examples {

enum class ModelKind { vit, vmoe, mobile, upcycled, vmoe4, own };
enum class ImageKind { grey28, colour32 };

struct TrainFlags {
  std::string data;
  std::string output;
  std::string split = "train";
  std::string start;  // weights to begin with; empty: from scratch
  bool whole = false;
  double validation = 0.1;
  std::vector<std::string> class_names;
  ModelKind model = ModelKind::vmoe;
  ImageKind images = ImageKind::grey28;
  moevit::ExpertStart experts = moevit::ExpertStart::different;
  bool sine_positions = false;
  moevit::Index threads = std::max<moevit::Index>(1, static_cast<moevit::Index>(std::thread::hardware_concurrency()));
  std::uint64_t seed = 1;
  double average = 0;  // decay; 0: none
  moevit::TrainerOptions training = defaults();

  void add_to(CLI::App& app) {
    add_data(app);
    add_learning(app);
    add_augmentation(app);
    add_routers(app);
    add_run(app);
  }

  moevit::TrainerOptions options() const {
    moevit::TrainerOptions options = training;
    options.folder = output;
    options.seed = seed;
    options.threads = threads;
    options.notes = {{"experts", experts == moevit::ExpertStart::equal ? "equal" : "different"}};
    if (sine_positions) options.notes["positions"] = "sine";
    if (average > 0) options.averaging = moevit::AveragingOptions{.decay = average, .warm_up = true};
    return options;
  }

 private:
  static moevit::TrainerOptions defaults() {
    moevit::TrainerOptions options;
    options.steps = 2000;
    options.schedule = {.decay = moevit::Decay::cosine, .peak = 1e-3, .warmup = 100};
    options.label_smoothing = 0.1;
    return options;
  }

  /// An option whose value is one of a few words.
  template <class Enum>
  static void add_choice(CLI::App& app, const std::string& name, Enum& value, const std::map<std::string, Enum>& words,
                         const std::string& usual, const std::string& text) {
    std::vector<std::string> known;
    for (const auto& [word, meaning] : words) known.push_back(word);
    app.add_option_function<std::string>(
           name, [&value, words](const std::string& word) { value = words.at(word); }, text)
        ->check(CLI::IsMember(known))
        ->default_str(usual);
  }

  void add_data(CLI::App& app) {
    app.add_option("data", data, "Data set: IDX (MNIST), CIFAR binary, or one folder per class")->required();
    app.add_option("--output,-o", output, "Folder to write to, and to go on from")->required();
    app.add_option("--split", split, "Part of the data set to train with")->capture_default_str();
    app.add_flag("--whole", whole, "The data set has no splits: all of it is for training");
    app.add_option("--validation", validation, "Share of each class that is held out for validation")
        ->capture_default_str()
        ->check(CLI::Range(0., 0.9));
    app.add_option("--start", start,
                   "Weights of the same model to begin with instead of random ones, e.g. what upcycle wrote; the "
                   "optimiser begins anew");
    app.add_option("--class-names", class_names, "Names of the classes, with commas, where the data set has none")
        ->delimiter(',');
    add_choice<ModelKind>(app, "--model", model,
                          {{"vit", ModelKind::vit},
                           {"vmoe", ModelKind::vmoe},
                           {"mobile", ModelKind::mobile},
                           {"upcycled", ModelKind::upcycled},
                           {"vmoe4", ModelKind::vmoe4},
                           {"own", ModelKind::own}},
                          "vmoe",
                          "vit, vmoe, mobile (Mobile V-MoE), upcycled (vmoe with renormalised gates) or vmoe4 (four "
                          "sparse blocks of eight, 32x32x3)");
    add_choice<ImageKind>(app, "--images", images, {{"28x28x1", ImageKind::grey28}, {"32x32x3", ImageKind::colour32}},
                          "28x28x1", "What images become: 28x28x1 or 32x32x3");
  }

  void add_learning(CLI::App& app) {
    app.add_option("--steps", training.steps, "Steps")->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--batch", training.loader.batch, "Images per step")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    add_choice<moevit::OptimizerKind>(app, "--optimizer", training.optimizer.kind,
                                      {{"adamw", moevit::OptimizerKind::adamw},
                                       {"sgd", moevit::OptimizerKind::sgd},
                                       {"adafactor", moevit::OptimizerKind::adafactor}},
                                      "adamw", "adamw, sgd or adafactor");
    app.add_option("--learning-rate", training.schedule.peak, "Highest learning rate")->capture_default_str();
    app.add_option("--warmup", training.schedule.warmup, "Steps that lead up to it")->capture_default_str();
    add_choice<moevit::Decay>(app, "--decay", training.schedule.decay,
                              {{"none", moevit::Decay::none},
                               {"cosine", moevit::Decay::cosine},
                               {"linear", moevit::Decay::linear},
                               {"rsqrt", moevit::Decay::rsqrt}},
                              "cosine", "How it falls: cosine, linear, rsqrt or none");
    app.add_option("--weight-decay", training.optimizer.weight_decay, "Weight decay of kernels")->capture_default_str();
    app.add_option("--clip", training.clip, "Global norm that gradients are clipped to; 0: not")->capture_default_str();
    app.add_option("--label-smoothing", training.label_smoothing, "Label smoothing")->capture_default_str();
    app.add_option("--dropout", training.drop.dropout, "Rate of dropout")->capture_default_str();
    app.add_option("--expert-dropout", training.drop.expert_dropout, "Rate of dropout within experts")
        ->capture_default_str();
    app.add_option("--stochastic-depth", training.drop.stochastic_depth,
                   "Rate at which images skip the last block, falling to 0 at the first")
        ->capture_default_str();
    app.add_option("--average", average, "Decay of the moving average of weights; 0: none")->check(CLI::Range(0., 1.));
  }

  void add_augmentation(CLI::App& app) {
    moevit::Augmentation& augmentation = training.loader.augmentation;
    app.add_option("--mixup", training.mixup, "Alpha of mixup; 0: none")->capture_default_str();
    app.add_option("--cutmix", training.cutmix, "Alpha of cutmix; 0: none")->capture_default_str();
    app.add_option("--cutmix-probability", training.cutmix_probability,
                   "Of cutmix, not mixup, where both have an alpha")
        ->capture_default_str();
    app.add_option("--flip", augmentation.flip, "Probability of mirroring")->capture_default_str();
    app.add_option("--shift", augmentation.shift, "Moves images by up to so many pixels")->capture_default_str();
    app.add_option("--crop-padding", augmentation.crop_padding, "Pixels around the image before a window is cut")
        ->capture_default_str();
    app.add_option("--operations", augmentation.operations, "Operations of RandAugment per image")
        ->capture_default_str();
    app.add_option("--magnitude", augmentation.magnitude, "Magnitude of RandAugment")->capture_default_str();
  }

  void add_routers(CLI::App& app) {
    moevit::RouterTraining& router = training.router;
    app.add_option("--noise", router.noise_std, "Noise on router logits; V-MoE trained with 1")->capture_default_str();
    app.add_option("--capacity", router.capacity_ratio, "Capacity ratio of the experts; default: nothing is dropped")
        ->check(CLI::PositiveNumber);
    app.add_option("--importance-loss", router.losses.importance, "Weight of the importance loss")
        ->capture_default_str();
    app.add_option("--load-loss", router.losses.load, "Weight of the load loss, which needs noise")
        ->capture_default_str();
    app.add_option("--z-loss", router.losses.z, "Weight of the router z-loss; ST-MoE: 0.001")->capture_default_str();
    app.add_option("--super-classes", router.super_classes,
                   "Mobile V-MoE: the expert of each class, with commas, which the router learns")
        ->delimiter(',');
    app.add_option("--super-class-loss", router.super_class_weight, "Weight of that loss")->capture_default_str();
    add_choice<moevit::ExpertStart>(
        app, "--experts", experts,
        {{"different", moevit::ExpertStart::different}, {"equal", moevit::ExpertStart::equal}}, "different",
        "How experts begin: different or equal");
    app.add_flag("--sine-positions", sine_positions,
                 "Learned positions begin as a table of sines and cosines: small models learn faster");
  }

  void add_run(CLI::App& app) {
    app.add_option("--seed", seed, "Of weights, data order, augmentation and noise")->capture_default_str();
    app.add_option("--evaluate-every", training.evaluate_every, "Steps between evaluations")->capture_default_str();
    app.add_option("--checkpoint-every", training.checkpoint_every, "Steps between checkpoints")->capture_default_str();
    app.add_option("--log-every", training.log_every, "Steps per line of the log")->capture_default_str();
    app.add_option("--patience", training.patience, "Ends after so many evaluations without a better one; 0: never")
        ->capture_default_str();
    app.add_option("--threads", threads, "Threads; results do not depend on them")
        ->capture_default_str()
        ->check(CLI::Range(1, 1024));
    app.add_flag("--recompute", training.recompute, "Saves memory: blocks are computed again in the backward pass");
  }
};

}  // namespace examples
