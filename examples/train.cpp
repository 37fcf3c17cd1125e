/// Trains a small ViT, V-MoE or Mobile V-MoE and goes on where it was interrupted.
#include "common/models.hpp"
#include "common/program.hpp"
#include "common/train_flags.hpp"

#include <moevit/io/dataset.hpp>
#include <moevit/io/datasets/memory.hpp>
#include <moevit/train/initialise.hpp>
#include <moevit/train/progress_bar.hpp>
#include <moevit/train/trainer.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr const char* description =
    "Trains a small ViT, V-MoE or Mobile V-MoE for 10 classes on grey images of 28 x 28 or colour images of 32 x 32 "
    "pixels.\n"
    "The last tenth of each class is held out for validation; test images are not touched. Into the output folder go\n"
    "checkpoint.safetensors, log.jsonl, curves.svg, best.safetensors (weights of the best evaluation) and\n"
    "weights.safetensors (weights at the end), which classify takes. If a checkpoint is there, training goes on from "
    "it to\n"
    "the same bits as without the interruption; with other options than before it is refused.";

/// Opens the training images. Throws moevit::Error with a hint where the split is not there.
std::unique_ptr<moevit::Dataset> open_images(const examples::TrainFlags& flags) {
  try {
    return moevit::open_dataset(flags.data, {.split = flags.whole ? "" : flags.split, .limits = {}});
  } catch (const moevit::Error& error) {
    throw moevit::Error(std::string(error.what()) + (flags.whole ? "" : " (--whole: a data set without splits)"));
  }
}

/// Sets the first weights. They belong to what the run depends on, so its notes tell them from others.
template <class Net>
void start(Net& net, const examples::TrainFlags& flags, moevit::TrainerOptions& options) {
  moevit::initialise(net.parameters(), {.seed = flags.seed, .experts = flags.experts});
  if (flags.sine_positions) moevit::start_with_sine_positions(net.description().vit, net.parameters());
  if (flags.start.empty()) return;
  moevit::load(net, flags.start);
  options.notes["start"] = moevit::detail::checksum(std::as_const(net).parameters());
}

template <class Net>
int train(const examples::TrainFlags& flags) {
  Net net;
  moevit::TrainerOptions options = flags.options();
  start(net, flags, options);
  const std::unique_ptr<moevit::Dataset> files = open_images(flags);
  const std::vector<std::string>& names = files->class_names().empty() ? flags.class_names : files->class_names();
  if (!names.empty() || flags.start.empty()) net.set_class_names(names);
  moevit::ThreadPool pool(flags.threads);
  const moevit::MemoryDataset images(*files, net.preprocessing(), moevit::ExecutorRef(pool));
  moevit::Trainer trainer(net, {images, moevit::validation_split(images, flags.validation)}, options);
  moevit::ProgressBar bar;
  const moevit::TrainingResult result = trainer.run(bar);
  std::printf("%s: weights after step %td\n", trainer.files().weights().string().c_str(), result.step);
  if (result.best_step > 0)
    std::printf("%s: best weights, of step %td: validation accuracy %.2f%%, loss %.4f\n",
                trainer.files().best().string().c_str(), result.best_step, 100 * result.best_accuracy,
                result.best_loss);
  return examples::success;
}

#ifdef MOEVIT_OWN_MODEL
int train_any(const examples::TrainFlags& flags) {
  if (flags.model != examples::ModelKind::own)
    moevit::fail("this train was built by train_folder.sh: --model own only");
  return train<examples::OwnModel>(flags);
}
#else
int train_any(const examples::TrainFlags& flags) {
  using examples::ImageKind, examples::ModelKind;
  if (flags.model == ModelKind::own) moevit::fail("--model own: examples/train_folder.sh builds train with it");
  const bool grey = flags.images == ImageKind::grey28;
  if (flags.model == ModelKind::vit)
    return grey ? train<examples::FashionVit>(flags) : train<examples::CifarVit>(flags);
  if (flags.model == ModelKind::upcycled)
    return grey ? train<examples::FashionUpcycled>(flags) : train<examples::CifarUpcycled>(flags);
  if (flags.model == ModelKind::vmoe4) {
    if (grey) moevit::fail("--model vmoe4: takes --images 32x32x3 only");
    return train<examples::CifarVMoe4>(flags);
  }
  if (flags.model == ModelKind::vmoe)
    return grey ? train<examples::FashionVMoe>(flags) : train<examples::CifarVMoe>(flags);
  return grey ? train<examples::FashionMobileVMoe>(flags) : train<examples::CifarMobileVMoe>(flags);
}
#endif

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "train");
  examples::TrainFlags flags;
  flags.add_to(app);
  return examples::run_program(app, argc, argv, [&] { return train_any(flags); });
}
