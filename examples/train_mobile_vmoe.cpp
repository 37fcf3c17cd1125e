/// The whole way to a Mobile V-MoE: dense baseline, its confusions, super-classes, router and model.
#include "common/program.hpp"
#include "mobile/flags.hpp"
#include "mobile/table.hpp"

#include <moevit/train/progress_bar.hpp>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace examples::mobile;

constexpr const char* description =
    "Trains a Mobile V-MoE in one command (Daxberger et al. 2023): a dense model, its confusion of classes on images "
    "held\n"
    "out, the super-classes that follow, and a model whose router learns to tell them apart, an expert for each.\n"
    "Other arms of the comparison are trained the same way. Every model lies in a folder of its own as "
    "weights.safetensors,\n"
    "which classify takes; results.jsonl has what they reached. A run that was interrupted goes on with the same "
    "command.";

struct Flags {
  StudyFlags study;
  ArmSpec spec;

  void add_to(CLI::App& app) {
    study.add_to(app);
    const std::map<std::string, Arm> arms{{"dense", Arm::dense},           {"super-class", Arm::super_class},
                                          {"end-to-end", Arm::end_to_end}, {"random", Arm::random},
                                          {"per-token", Arm::per_token},   {"oracle", Arm::oracle}};
    app.add_option("--arm", spec.shape.arm,
                   "Where an image's expert comes from: super-class, or for comparison dense (no experts), end-to-end "
                   "(the router learns from the classifier alone), random, per-token (V-MoE), oracle (the true "
                   "super-class)")
        ->transform(CLI::CheckedTransformer(arms))
        ->default_str("super-class");
    StudyFlags::add_shape(app, spec.shape);
    app.add_option("--lambda", spec.lambda, "Weight of the super-class loss")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_flag("--upcycle", spec.is_upcycled, "Experts begin as copies of the dense model's MLPs");
    app.add_option("--seed", spec.seed, "Of weights, data order and augmentation")->capture_default_str();
  }
};

int train(Flags& flags) {
  Study study(flags.study.options());
  moevit::ProgressBar bar;
  std::printf("dense model first, then %s\n", flags.spec.label().c_str());
  if (flags.spec.shape.arm != Arm::dense)
    std::printf("super-classes: %s\n",
                study.write_super_classes(flags.spec.seed, flags.spec.shape.experts, bar).string().c_str());
  study.run(flags.spec, bar);
  std::vector<std::string> labels{"dense"};
  if (flags.spec.is_upcycled) {  // the dense model gets as many steps more, to compare with
    const ArmSpec control{.shape = {.arm = Arm::dense}, .is_upcycled = true, .seed = flags.spec.seed};
    study.run(control, bar);
    labels.push_back(control.label());
  }
  if (flags.spec.label() != labels.back()) labels.push_back(flags.spec.label());
  std::printf("%s\nweights: %s\n", to_table(study.records(), labels).c_str(),
              (study.folder_of(flags.spec) / "weights.safetensors").string().c_str());
  return examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "train_mobile_vmoe");
  Flags flags;
  flags.add_to(app);
  return examples::run_program(app, argc, argv, [&] {
    flags.spec.shape = flags.study.with_usual_experts(flags.spec.shape);
    return train(flags);
  });
}
