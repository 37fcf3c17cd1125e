// Training runs: they learn, they go on where they were ended, and they say what is wrong.
#include "catch.hpp"
#include "train/resumed_runs.hpp"

#include <moevit/train/progress_bar.hpp>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>

#include <sys/resource.h>

using namespace moevit;
using namespace moevit::test;

namespace {

/// Sets a parameter behind step 7.
struct Breaker : TrainingMonitor {
  Breaker(TinyVit& broken, std::string parameter, float number)
      : net(broken), name(std::move(parameter)), value(number) {}
  void step_done(const StepReport& report) override {
    if (report.step != 7) return;
    for (const Parameter& parameter : net.parameters())
      if (parameter.name == name)
        parameter.assign(std::vector<float>(static_cast<std::size_t>(parameter.size()), value));
  }
  TinyVit& net;
  std::string name;
  float value;
};

}  // namespace

TEST_CASE("a run that is ended anywhere goes on to the bits of an unbroken one") {
  SECTION("V-MoE with noise, mixup, average") { check_resumes<TinyVMoe>(tiny_options({})); }
  SECTION("Swin with cosine routers") {
    TrainerOptions options = tiny_options({});
    options.drop.stochastic_depth = 0.2;
    check_resumes<TinySwin>(options);
  }
  SECTION("dense, SGD, without average") {
    TrainerOptions options = tiny_options({});
    options.averaging.reset();
    options.optimizer = {.kind = OptimizerKind::sgd, .weight_decay = 0.01};
    options.recompute = true;
    check_resumes<TinyVit>(options);
  }
  SECTION("Mobile V-MoE with super-classes") {
    TrainerOptions options = tiny_options({});
    options.router.super_classes = {0, 1, 1};
    check_resumes<TinyMobile>(options);
  }
}

TEST_CASE("training learns: loss falls, validation images are recognised") {
  const TemporaryFolder folder;
  const auto learns = [&]<class Net>(std::type_identity<Net>, const std::string& name) {
    INFO(name);
    TrainerOptions options = tiny_options(folder / name);
    options.steps = 150;
    options.evaluate_every = 50;
    options.mixup = 0;
    if (name == "mobile") options.router.super_classes = {0, 1, 1};
    const TrainingResult result = train<Net>(images(), options);
    CHECK(result.step == 150);
    CHECK(result.best_accuracy == 1.);
    const TrainingHistory history = read_training_log(folder / name / "log.jsonl");
    CHECK(history.training.front().loss == Approx(std::log(3.)).epsilon(0.15));
    CHECK(history.training.back().loss < 0.5 * history.training.front().loss);
    if (name == "mobile") CHECK(history.training.back().router < 0.5 * history.training.front().router);
    if (name == "vmoe" || name == "swin") CHECK(history.training.back().auxiliary > 0);
    CHECK(history.evaluations.size() == 3);
    const std::string curves = bytes_of(folder / name / "curves.svg");
    CHECK(curves.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    CHECK(curves.ends_with("</svg>\n"));
    std::size_t paths = 0;
    for (std::size_t at = curves.find("<path "); at != std::string::npos; at = curves.find("<path ", at + 1)) ++paths;
    CHECK(paths == 5);  // losses, accuracy, learning rate, norm
    CHECK(std::count_if(history.evaluations.begin(), history.evaluations.end(),
                        [](const auto& entry) { return entry.is_best; }) >= 1);
  };
  learns(std::type_identity<TinyVit>{}, "vit");
  learns(std::type_identity<TinyVMoe>{}, "vmoe");
  learns(std::type_identity<TinyMobile>{}, "mobile");
  learns(std::type_identity<TinySwin>{}, "swin");
}

TEST_CASE("the best weights are a file of their own, and patience ends a run") {
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options(folder / "run");
  options.steps = 400;
  options.patience = 3;
  options.averaging.reset();
  const TrainingResult result = train<TinyVit>(images(), options);
  CHECK(result.step < 400);
  CHECK(result.step == result.best_step + 3 * options.evaluate_every);
  CHECK(train<TinyVit>(images(), options).step == result.step);  // it stays over
  TinyVit net;
  load(net, folder / "run" / "best.safetensors");
  load(net, folder / "run" / "weights.safetensors");
}

TEST_CASE("numbers that are not finite stop a run, naming step, place and the last good checkpoint") {
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options(folder / "run");
  const auto message_of = [&](const std::string& name, float value) {
    TinyVit net;
    initialise(net.parameters(), {.seed = options.seed});
    Breaker breaker(net, name, value);
    return error_of([&] {
      Trainer trainer(net, {images(), validation_split(images())}, options);
      trainer.run(breaker);
    });
  };
  const std::string message = message_of("blocks.1.mlp.hidden.kernel", std::numeric_limits<float>::quiet_NaN());
  INFO(message);
  CHECK(contains(message, "training stopped at step 8: "));
  CHECK(contains(message, "The first numbers that are not finite: the weights blocks.1.mlp.hidden.kernel"));
  CHECK(contains(message,
                 "The last good checkpoint is " + (folder / "run").string() + "/checkpoint.safetensors, of step 5"));
  const std::string overflow = message_of("blocks.0.mlp.output.kernel", 3e38f);  // goes on from step 5
  INFO(overflow);
  CHECK(contains(overflow, "The first numbers that are not finite: the output of block 0"));
  CHECK(train<TinyVit>(images(), options).step == 24);  // from the last good one

  options.folder = folder / "fast";
  options.optimizer.kind = OptimizerKind::sgd;
  options.schedule = {.decay = Decay::none, .peak = 1e38};
  options.clip = 0;
  const std::string blown = error_of([&] { train<TinyVMoe>(images(), options); });
  INFO(blown);
  CHECK(contains(blown, "not finite: "));
  CHECK(contains(blown, "of step 0"));
}

TEST_CASE("a checkpoint of other options is refused with what differs") {
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options(folder / "run");
  options.notes["origin"] = "paper";
  CHECK_THROWS_AS(train<TinyVit>(images(), options, 6), Killed);
  TrainerOptions other = options;
  other.notes.clear();
  other.schedule.peak = 2e-2;
  other.mixup = 0;
  other.notes["experts"] = "equal";
  const std::string message = error_of([&] { train<TinyVit>(images(), other); });
  CHECK(contains(message, "is of a run with other options:"));
  CHECK(contains(message, "\n  learning rate: the checkpoint has 0.01"));
  CHECK(contains(message, ", this run 0.02"));
  CHECK(contains(message, "\n  mixup: "));
  CHECK(contains(message, "\n  note, origin: the checkpoint has paper, this run nothing"));
  CHECK(contains(message, "\n  note, experts: the checkpoint has nothing, this run equal"));
  CHECK_FALSE(contains(message, "\n  seed"));
  CHECK(contains(message, "use the same options"));
  CHECK(contains(error_of([&] { train<TinyVMoe>(images(), options); }), "model, moevit.family: "));
  const MemoryDataset fewer = striped_images(57);
  CHECK(contains(error_of([&] { train<TinyVit>(fewer, options); }), "images and labels: "));
  other = options;
  other.threads = 2;
  other.checkpoint_every = 3;
  CHECK(train<TinyVit>(images(), other).step == 24);
}

TEST_CASE("damaged checkpoints are refused, naming the file and the one before it") {
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options(folder / "run");
  CHECK_THROWS_AS(train<TinyVit>(images(), options, 11), Killed);
  const auto path = folder / "run" / "checkpoint.safetensors", previous = folder / "run" / "previous.safetensors";
  const std::string whole = bytes_of(path);
  const auto refuses = [&](const std::string& contents) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
    const std::string message = error_of([&] { train<TinyVit>(images(), options); });
    INFO(message);
    CHECK(contains(message, path.string()));
    CHECK(contains(message, "The checkpoint before it, " + previous.string() + " of step 5, is sound"));
  };
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{500}, whole.size() / 2, whole.size() - 1})
    refuses(whole.substr(0, size));
  for (const std::size_t place : {std::size_t{200}, whole.size() / 2, whole.size() - 1}) {
    std::string flipped = whole;
    flipped[place] = static_cast<char>(flipped[place] ^ 1);
    refuses(flipped);
  }
  std::filesystem::remove(path);
  CHECK(contains(error_of([&] { train<TinyVit>(images(), options); }), "rename it to go on"));
  std::filesystem::rename(previous, path);
  train<TinyVit>(images(), options);
  options.folder = folder / "unbroken";
  train<TinyVit>(images(), options);
  CHECK(bytes_of(folder / "run" / "weights.safetensors") == bytes_of(folder / "unbroken" / "weights.safetensors"));
}

TEST_CASE("a log that is too short for its checkpoint is refused") {
  const TemporaryFolder folder;
  const TrainerOptions options = tiny_options(folder / "run");
  CHECK_THROWS_AS(train<TinyVit>(images(), options, 11), Killed);
  std::filesystem::resize_file(folder / "run" / "log.jsonl", 10);
  CHECK(contains(error_of([&] { train<TinyVit>(images(), options); }), "log.jsonl: expected the "));
}

TEST_CASE("a full disk stops a run, and the last good checkpoint stays") {
  const TemporaryFolder folder;
  const TrainerOptions options = tiny_options(folder / "run");
  struct Filler : TrainingMonitor {
    void step_done(const StepReport& report) override {
      if (report.step != 7) return;
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{4096, RLIM_INFINITY};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~Filler() override {
      const rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
  };
  std::string message;
  {
    Filler filler;
    TinyVit net;
    initialise(net.parameters());
    Trainer trainer(net, {images(), validation_split(images())}, options);
    message = error_of([&] { trainer.run(filler); });
  }
  INFO(message);
  CHECK(contains(message, "training stopped at step 10: " + (folder / "run").string() +
                              "/checkpoint.safetensors: cannot be written: "));
  CHECK(contains(message, "of step 5"));
  CHECK(train<TinyVit>(images(), options).step == 24);
}

TEST_CASE("images that cannot be read, labels and missing classes are named") {
  const TemporaryFolder folder;
  const TrainerOptions options = tiny_options(folder / "run");
  struct Unreadable : MemoryDataset {
    using MemoryDataset::MemoryDataset;
    Image pixels(Index image) const override {
      if (image == 33) fail("photos/33.png: is no image");
      return MemoryDataset::pixels(image);
    }
  };
  const Unreadable unreadable(images(), Preprocessing{.height = 8, .width = 8, .channels = 1});
  const std::string message = error_of([&] { train<TinyVit>(unreadable, options); });
  CHECK(contains(message, "training stopped at step "));
  CHECK(contains(message, "photos/33.png: is no image"));
  CHECK(contains(message, "The last good checkpoint is "));

  const auto of_labels = [&](const std::vector<Index>& labels) {
    const MemoryDataset dataset(std::vector<Image>(labels.size(), Image(8, 8, 1)), labels);
    return error_of([&] { train<TinyVit>(dataset, options); });
  };
  CHECK(of_labels(std::vector<Index>(20, 1)) == "training: no training images of class 0, 2");
  CHECK(of_labels({0, 1, 2, 3}) == "image 3: has label 3, but the model has 3 classes");
  CHECK(of_labels({0, 1, -1}) == "image 2: has no label");
  TrainerOptions wrong = options;
  wrong.router.super_classes = {0, 1, 2};
  CHECK(contains(error_of([&] { train<TinyVit>(images(), wrong); }), "expected a Mobile V-MoE"));
  CHECK(contains(error_of([&] { train<TinyMobile>(images(), wrong); }), "expected numbers from 0 to 1"));
  wrong = options;
  wrong.steps = 0;
  CHECK(contains(error_of([&] { train<TinyVit>(images(), wrong); }), "a number of steps of at least 1, found 0"));
}

TEST_CASE("progress is a bar on a terminal and plain lines elsewhere") {
  CHECK(progress_bar(3, 4, 8) == "[######..]");
  CHECK(progress_text({.step = 120, .steps = 1000, .loss = 1.23456, .steps_per_second = 8}) ==
        "step 120/1000, loss 1.2346, 8.00 steps/s, 1m50s left");
  CHECK(progress_text({.step = 0, .steps = 10, .loss = 2}) == "step 0/10, loss 2.0000");
  CHECK(short_time(7384) == "2h03m");
  CHECK(short_time(9.6) == "10s");
  const TemporaryFolder folder;
  TinyVit net;
  initialise(net.parameters());
  Trainer trainer(net, {images(), validation_split(images())}, tiny_options(folder / "run"));
  std::FILE* file = std::fopen((folder / "lines").string().c_str(), "w");
  ProgressBar bar(file);
  trainer.run(bar);
  std::fclose(file);
  const std::string lines = bytes_of(folder / "lines");
  INFO(lines);
  CHECK_FALSE(contains(lines, "\r"));
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 24 / 4 + 24 / 6 + 1);
  CHECK(contains(lines, "step 8/24, loss "));
  CHECK(contains(lines, " steps/s, "));
  CHECK(contains(lines, "step 12/24, validation: loss "));
  CHECK(contains(lines, "finished behind step 24 after "));
}

TEST_CASE("two runs in one folder do not mix") {
  const TemporaryFolder folder;
  const TrainerOptions options = tiny_options(folder / "run");
  struct Second : TrainingMonitor {
    explicit Second(const TrainerOptions& first) : options(first) {}
    void step_done(const StepReport& report) override {
      if (report.step == 3) message = error_of([&] { train<TinyVit>(images(), options); });
    }
    const TrainerOptions& options;
    std::string message;
  } second(options);
  TinyVit net;
  initialise(net.parameters(), {.seed = options.seed});
  Trainer trainer(net, {images(), validation_split(images())}, options);
  CHECK(trainer.run(second).step == 24);
  CHECK(second.message == (folder / "run").string() + ": another program is at work in it");
}

TEST_CASE("a model can be trained without validation images, and from loaded weights") {
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options(folder / "first");
  train<TinyVit>(images(), options);
  TinyVit net;
  load(net, folder / "first" / "weights.safetensors");
  options.folder = folder / "second";
  options.averaging.reset();
  Trainer trainer(net, {images(), validation_split(images(), 0.)}, options);
  CHECK(trainer.run().best_step == 0);
  CHECK_FALSE(std::filesystem::exists(trainer.files().best()));
  CHECK(std::filesystem::exists(trainer.files().weights()));
  const TrainingHistory first = read_training_log(folder / "first" / "log.jsonl"),
                        second = read_training_log(trainer.files().log());
  CHECK(second.training.front().loss < 0.95 * first.training.front().loss);
  CHECK(second.evaluations.empty());
}
