/// The four pipelines of Residual MoE: from upstream images to a segmenter or detector.
#include "common/program.hpp"
#include "downstream/names.hpp"
#include "downstream/study.hpp"

#include <moevit/train/progress_bar.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace examples::downstream;

constexpr const char* description =
    "Trains a small Swin or CvT on upstream images (a folder per class, e.g. Tiny ImageNet) and then on a downstream "
    "task,\n"
    "by the pipelines of Residual MoE (Wu et al. 2022): dense; moe, with experts from the start; rmoe-i, dense, a "
    "short\n"
    "stage with experts upstream, downstream; rmoe-d, experts only downstream. Prints accuracy and costs.\n"
    "What is in the output folder already is not trained again, and a run that was interrupted goes on. Of each stage "
    "it\n"
    "holds weights.safetensors, log.jsonl and curves.svg; segment and detect take the weights of downstream stages.";

struct Flags {
  StudyOptions study;
  std::vector<std::string> pipelines{"dense", "moe", "rmoe-i", "rmoe-d"};
  std::vector<std::uint64_t> seeds{1};
  bool prints_gains = false;
  bool only_prints = false;

  void add_to(CLI::App& app) {
    study.threads = std::max<Index>(1, static_cast<Index>(std::thread::hardware_concurrency()));
    app.add_option("upstream", study.upstream,
                   "Upstream images: <folder>/train/CLASS/*, 100 classes; not read for scratch")
        ->required();
    app.add_option("data", study.data, "Images of the task: CamVid, BCCD, or nuclei as their READMEs lay them out")
        ->required();
    app.add_option("--output,-o", study.output, "Folder to write to, and to go on from")->required();
    app.add_option("--backbone", study.backbone, "swin or cvt")
        ->transform(CLI::CheckedTransformer(backbone_names))
        ->default_str("swin");
    app.add_option("--task", study.task,
                   "camvid (segmentation), bccd (detection), nuclei-masks (segmentation) or nuclei-boxes (detection)")
        ->transform(CLI::CheckedTransformer(task_names))
        ->default_str("nuclei-masks");
    app.add_option("--pipelines", pipelines,
                   "With commas: dense, moe, rmoe-i, rmoe-d; scratch: experts, trained on the task only")
        ->delimiter(',')
        ->check(CLI::IsMember(pipeline_names))
        ->default_str("all but scratch");
    app.add_option("--seeds", seeds, "Seeds, with commas")->delimiter(',')->default_str("1");
    add_learning(app);
    app.add_flag("--freeze-cores", study.freezes_cores, "Cores stay those of the dense model: residuals learn alone");
    app.add_flag("--test", study.looks_at_test, "Evaluates on the test images too: for final runs only");
    app.add_option("--threads", study.threads, "Threads; results do not depend on them")
        ->capture_default_str()
        ->check(CLI::Range(1, 1024));
    app.add_flag("--gains", prints_gains, "Trains upstream only and prints what splitting each block would gain");
    app.add_flag("--print", only_prints, "Trains nothing, prints the table of what is there");
  }

 private:
  void add_learning(CLI::App& app) {
    const auto number = [&app](const char* name, auto& value, const char* text) {
      app.add_option(name, value, text)->capture_default_str()->check(CLI::NonNegativeNumber);
    };
    number("--upstream-epochs", study.upstream_epochs, "Epochs of pre-training");
    number("--intermediate-epochs", study.intermediate_epochs, "Epochs of the stage with experts upstream, of rmoe-i");
    number("--downstream-epochs", study.downstream_epochs, "Epochs of the task");
    number("--upstream-rate", study.upstream_rate, "Highest learning rate of pre-training");
    number("--intermediate-rate", study.intermediate_rate, "Highest learning rate of the intermediate stage");
    number("--downstream-rate", study.downstream_rate, "Highest learning rate of the task");
    number("--backbone-rate", study.backbone_rate, "Learning rate of the backbone in the task, as a factor");
    number("--balance", study.balance, "Weight of the importance loss of routers");
    number("--residual-deviation", study.residual_deviation, "Noise that upcycled residuals begin with");
  }
};

int train_downstream(const Flags& flags) {
  Study study(flags.study);
  moevit::ProgressBar bar;
  if (flags.prints_gains) {
    const auto gains = study.gains(bar);
    const moevit::Placement best = moevit::best_blocks(gains, std::min<Index>(2, std::ssize(gains)));
    std::printf("%s", moevit::gain_table(gains, best).c_str());
    return examples::success;
  }
  for (const std::uint64_t seed : flags.only_prints ? std::vector<std::uint64_t>() : flags.seeds)
    for (const std::string& pipeline : flags.pipelines) {
      const Record record = study.run(pipeline, seed, bar);
      std::printf("seed %llu, %s: validation %.2f %%\n", static_cast<unsigned long long>(seed), record.pipeline.c_str(),
                  100 * record.validation);
      std::fflush(stdout);
    }
  std::printf("%s", to_table(study.records(), name_in(backbone_names, flags.study.backbone),
                             name_in(task_names, flags.study.task))
                        .c_str());
  return examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "train_downstream");
  Flags flags;
  flags.add_to(app);
  return examples::run_program(app, argc, argv, [&] { return train_downstream(flags); });
}
