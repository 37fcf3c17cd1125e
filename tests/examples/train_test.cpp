// train: learns, writes what classify takes, survives being killed, and says what is wrong.
#include "examples/run_program.hpp"

#include <moevit/train/training_log.hpp>

#include <chrono>
#include <map>
#include <random>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace moevit::test;

namespace {

/// Ten classes with a folder each, 28 x 28 grey.
void write_classes(const std::filesystem::path& folder, int images = 6) {
  for (int label = 0; label < 10; ++label)
    for (int image = 0; image < images; ++image)
      write_pgm(folder / ("class" + std::to_string(label)) / (std::to_string(image) + ".pgm"), label + 1);
}

/// A short run; `changes` replace or add options.
std::vector<std::string> arguments(const std::filesystem::path& data, const std::filesystem::path& output,
                                   const std::map<std::string, std::string>& changes = {}) {
  std::map<std::string, std::string> options{{"--steps", "24"},         {"--batch", "8"},           {"--warmup", "4"},
                                             {"--noise", "1"},          {"--mixup", "0.2"},         {"--shift", "1"},
                                             {"--average", "0.9"},      {"--log-every", "4"},       {"--threads", "1"},
                                             {"--evaluate-every", "6"}, {"--checkpoint-every", "2"}};
  for (const auto& [name, value] : changes) options[name] = value;
  std::vector<std::string> words{data.string(), "--output", output.string(), "--whole"};
  for (const auto& [name, value] : options) words.insert(words.end(), {name, value});
  return words;
}

/// Starts the program and kills it after so many milliseconds. Returns whether it had ended by itself, with code 0.
bool ends_within(const std::vector<std::string>& words, int milliseconds) {
  std::vector<std::string> all{MOEVIT_TRAIN_PROGRAM};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> pointers;
  for (std::string& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int nothing = open("/dev/null", O_WRONLY);
    dup2(nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    execv(pointers.front(), pointers.data());
    _exit(127);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  kill(child, SIGKILL);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) {
    REQUIRE(WTERMSIG(status) == SIGKILL);
    return false;
  }
  REQUIRE(WEXITSTATUS(status) == 0);
  return true;
}

}  // namespace

TEST_CASE("a training that is killed again and again ends with the bytes of an unbroken one") {
  const TemporaryFolder folder;
  write_classes(folder / "images");
  const std::filesystem::path unbroken = folder / "unbroken", broken = folder / "broken";
  const ProgramResult result = run_program(MOEVIT_TRAIN_PROGRAM, arguments(folder / "images", unbroken));
  INFO(result.errors);
  REQUIRE(result.code == 0);
  CHECK(result.errors.find("step 4/24, loss ") != std::string::npos);
  CHECK(result.errors.find("step 6/24, validation: loss ") != std::string::npos);
  CHECK(result.errors.find('\r') == std::string::npos);

  std::mt19937 random(11);
  int kills = 0;
  // Longer and longer, so that slow builds come to an end, too.
  while (
      !ends_within(arguments(folder / "images", broken), std::uniform_int_distribution<int>(1, 40 + 4 * kills)(random)))
    ++kills;
  CHECK(kills >= 5);
  for (const char* name :
       {"weights.safetensors", "best.safetensors", "checkpoint.safetensors", "log.jsonl", "curves.svg"}) {
    INFO(name << " after " << kills << " kills");
    CHECK(read_text(unbroken / name) == read_text(broken / name));
    CHECK_FALSE(read_text(broken / name).empty());
  }
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(broken)) ++entries;
  CHECK(entries == 6);  // nothing unfinished is left
}

TEST_CASE("classify takes what train wrote") {
  const TemporaryFolder folder;
  write_classes(folder / "images");
  for (const char* model : {"vit", "vmoe", "mobile"}) {
    INFO(model);
    std::map<std::string, std::string> changes{{"--model", model}, {"--steps", "60"},  {"--learning-rate", "0.003"},
                                               {"--mixup", "0"},   {"--average", "0"}, {"--shift", "0"}};
    if (std::string(model) == "mobile") changes["--super-classes"] = "0,0,1,1,2,2,3,3,4,4";
    const ProgramResult trained =
        run_program(MOEVIT_TRAIN_PROGRAM, arguments(folder / "images", folder / model, changes));
    INFO(trained.errors);
    REQUIRE(trained.code == 0);
    CHECK(trained.output.find("best.safetensors: best weights, of step ") != std::string::npos);
    const moevit::TrainingHistory history = moevit::read_training_log(folder / model / "log.jsonl");
    CHECK(history.training.back().loss < 0.7 * history.training.front().loss);
    const ProgramResult classified = run_program(
        MOEVIT_CLASSIFY_PROGRAM,
        {"--weights", (folder / model / "best.safetensors").string(), (folder / "images").string(), "--threads", "1"});
    INFO(classified.errors);
    CHECK(classified.code == 0);
    CHECK(classified.output.find("class3") != std::string::npos);
  }
}

TEST_CASE("train refuses other options, missing classes and unreadable images by name") {
  const TemporaryFolder folder;
  write_classes(folder / "images", 3);
  REQUIRE(run_program(MOEVIT_TRAIN_PROGRAM, arguments(folder / "images", folder / "run")).code == 0);
  const ProgramResult other =
      run_program(MOEVIT_TRAIN_PROGRAM, arguments(folder / "images", folder / "run", {{"--learning-rate", "0.1"}}));
  CHECK(other.code == 1);
  CHECK(other.errors.find("learning rate: the checkpoint has 0.001") != std::string::npos);

  const std::vector<std::string> fresh = arguments(folder / "images", folder / "other");
  std::ofstream(folder.path() / "images" / "class4" / "1.pgm", std::ios::trunc) << "P5 nothing";
  const ProgramResult unreadable = run_program(MOEVIT_TRAIN_PROGRAM, fresh);
  CHECK(unreadable.code == 1);
  CHECK(unreadable.errors.find("class4/1.pgm") != std::string::npos);

  std::filesystem::remove_all(folder.path() / "images" / "class4");
  std::filesystem::create_directory(folder.path() / "images" / "class4");
  const ProgramResult missing = run_program(MOEVIT_TRAIN_PROGRAM, fresh);
  CHECK(missing.code == 1);
  CHECK(missing.errors.find("no training images of class 4 ('class4')") != std::string::npos);

  std::filesystem::remove_all(folder.path() / "images" / "class4");
  const ProgramResult fewer = run_program(MOEVIT_TRAIN_PROGRAM, fresh);
  CHECK(fewer.code == 1);
  CHECK(fewer.errors.find("the data set has 9 classes, but the model 10") != std::string::npos);

  const ProgramResult split = run_program(MOEVIT_TRAIN_PROGRAM, {(folder / "images").string(), "-o", "x"});
  CHECK(split.code == 1);
  CHECK(split.errors.find("has no split 'train' (--whole: ") != std::string::npos);
}

TEST_CASE("train takes what regularises: optimiser, losses, mixtures and rates") {
  const TemporaryFolder folder;
  write_classes(folder / "images");
  const std::map<std::string, std::string> changes{{"--steps", "4"},
                                                   {"--optimizer", "adafactor"},
                                                   {"--z-loss", "0.001"},
                                                   {"--cutmix", "1"},
                                                   {"--dropout", "0.1"},
                                                   {"--expert-dropout", "0.2"},
                                                   {"--stochastic-depth", "0.1"},
                                                   {"--cutmix-probability", "0.75"}};
  const ProgramResult trained =
      run_program(MOEVIT_TRAIN_PROGRAM, arguments(folder / "images", folder / "run", changes));
  INFO(trained.errors);
  REQUIRE(trained.code == 0);
  for (const auto& [flag, entry] : std::map<std::string, std::string>{{"--z-loss", "z-loss"},
                                                                      {"--cutmix", "cutmix"},
                                                                      {"--cutmix-probability", "cutmix probability"},
                                                                      {"--dropout", "dropout"},
                                                                      {"--expert-dropout", "expert dropout"},
                                                                      {"--stochastic-depth", "stochastic depth"}}) {
    std::map<std::string, std::string> others = changes;
    others[flag] = "0.5";
    const ProgramResult other = run_program(MOEVIT_TRAIN_PROGRAM, arguments(folder / "images", folder / "run", others));
    CHECK(other.code == 1);
    INFO(other.errors);
    CHECK(other.errors.find("\n  " + entry + ": the checkpoint has ") != std::string::npos);
  }
  const ProgramResult wrong =
      run_program(MOEVIT_TRAIN_PROGRAM, arguments(folder / "images", folder / "wrong", {{"--stochastic-depth", "1"}}));
  CHECK(wrong.code == 1);
  CHECK(wrong.errors.find("stochastic depth: expected a rate from 0 to below 1, found 1") != std::string::npos);
}
