/// The command line options that both programs of the study have.
#pragma once

#include "mobile/study.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <thread>

namespace examples::mobile {

struct StudyFlags {
  StudyOptions study = defaults();
  double average = 0.998;

  void add_to(CLI::App& app) {
    app.add_option("data", study.data, "Folder of the data set, with its splits")->required();
    app.add_option("--output,-o", study.output, "Folder to write to, and to go on from")->required();
    const std::map<std::string, Images> known{
        {"fashion", Images::fashion}, {"cifar", Images::cifar}, {"tiny-imagenet", Images::tiny_imagenet}};
    app.add_option("--images", study.images,
                   "What the data set is, which decides the shape of the models: fashion (Fashion-MNIST), cifar "
                   "(CIFAR-10), tiny-imagenet (100 classes of Tiny ImageNet)")
        ->transform(CLI::CheckedTransformer(known))
        ->required();
    add_learning(app);
    app.add_flag("--test", study.looks_at_test, "Evaluates on the test images too: for final runs only");
    app.add_option("--threads", study.training.threads, "Threads; results do not depend on them")
        ->capture_default_str()
        ->check(CLI::Range(1, 1024));
  }

  /// Options for the numbers of a shape. Experts stay 0, which with_usual_experts() settles, unless they are given.
  static void add_shape(CLI::App& app, Shape& shape) {
    shape.experts = 0;
    app.add_option("--experts,-E", shape.experts, "Experts")->default_str("3, of CIFAR-10 5, of Tiny ImageNet 10");
    app.add_option("--selected,-k", shape.selected, "Experts per image")->capture_default_str();
    app.add_option("--layers,-L", shape.layers, "Blocks with experts, the last ones")->capture_default_str();
  }
  Shape with_usual_experts(Shape shape) const {
    if (shape.experts == 0) shape.experts = usual_experts(study.images);
    return shape;
  }

  StudyOptions options() const {
    StudyOptions options = study;
    if (average > 0) options.training.averaging = moevit::AveragingOptions{.decay = average, .warm_up = true};
    return options;
  }

 private:
  static StudyOptions defaults() {
    StudyOptions options;
    moevit::TrainerOptions& training = options.training;
    training.schedule = {.decay = moevit::Decay::cosine, .peak = 2e-3};
    training.label_smoothing = 0.1;
    training.loader.augmentation.crop_padding = 4;
    training.loader.augmentation.flip = 0.5;
    training.evaluate_every = 0;
    training.log_every = 100;
    training.threads = std::max<Index>(1, static_cast<Index>(std::thread::hardware_concurrency()));
    return options;
  }

  void add_learning(CLI::App& app) {
    moevit::TrainerOptions& training = study.training;
    const auto number = [&app](const char* name, auto& value, const char* text) {
      return app.add_option(name, value, text)->capture_default_str()->check(CLI::NonNegativeNumber);
    };
    number("--epochs", study.epochs, "Epochs from scratch");
    number("--upcycled-epochs", study.upcycled_epochs, "Epochs that begin with the dense model's weights");
    number("--upcycled-rate", study.upcycled_rate, "Highest learning rate of these, as a share of --learning-rate");
    number("--batch", training.loader.batch, "Images per step");
    number("--learning-rate", training.schedule.peak, "Highest learning rate");
    number("--weight-decay", training.optimizer.weight_decay, "Weight decay of kernels");
    number("--label-smoothing", training.label_smoothing, "Label smoothing");
    number("--mixup", training.mixup, "Alpha of mixup; 0: none");
    number("--crop-padding", training.loader.augmentation.crop_padding, "Pixels around the image before it is cut");
    number("--flip", training.loader.augmentation.flip, "Probability of mirroring");
    number("--average", average, "Decay of the moving average of weights; 0: none");
    number("--balance", study.balance, "Weight of balancing losses of routers that learn end to end");
    number("--largest-super-class", study.largest_super_class, "Most classes of a super-class; 0: any number");
    number("--evaluate-every", training.evaluate_every, "Steps between evaluations; 0: at the end");
    number("--checkpoint-every", training.checkpoint_every, "Steps between checkpoints");
  }
};

}  // namespace examples::mobile
