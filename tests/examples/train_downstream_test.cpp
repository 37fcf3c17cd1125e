// train_downstream: pipelines share their stages, go on where they stopped, and give weights of the task.
#include "examples/run_program.hpp"
#include "io/detection_files.hpp"
#include "io/image_encoders.hpp"

#include <algorithm>
#include <map>

using namespace moevit::test;

namespace {

/// 100 classes of two grey images of 64 x 64.
void write_upstream(const std::filesystem::path& folder) {
  for (int label = 0; label < 100; ++label)
    for (const char* name : {"a.pgm", "b.pgm"})
      write_image(folder / "train" / ("class" + std::to_string(100 + label)) / name, 64, 64);
}

/// Images of odd sizes with one object each: `training` for training, one for tests.
void write_nuclei(const std::filesystem::path& folder, int training) {
  std::string split = "name\tsplit\twidth\theight\tinstances\n";
  for (int i = 0; i <= training; ++i) {
    const std::string name = std::to_string(i);
    const int height = 31 + i, width = 40;
    write_image(folder / "images" / (name + ".pgm"), height, width);
    std::vector<Bytes> rows(static_cast<std::size_t>(height), Bytes(static_cast<std::size_t>(2 * width)));
    rows[7][13] = 1;
    std::filesystem::create_directories(folder / "instances");
    write_bytes(
        folder / "instances" / (name + ".png"),
        encode_png({.height = height, .width = width, .bits = 16, .color_type = PNG_COLOR_TYPE_GRAY, .rows = rows}));
    split += name + (i < training ? "\ttrain\t" : "\tval\t") + std::to_string(width) + "\t" + std::to_string(height) +
             "\t1\n";
  }
  write_text(folder / "split.tsv", split);
}

ProgramResult train(const std::filesystem::path& folder, const std::map<std::string, std::string>& changes = {}) {
  std::map<std::string, std::string> options{{"--output", (folder / "run").string()},
                                             {"--upstream-epochs", "1"},
                                             {"--intermediate-epochs", "0.4"},
                                             {"--downstream-epochs", "1"},
                                             {"--threads", "1"}};
  for (const auto& [name, value] : changes) options[name] = value;
  std::vector<std::string> words{(folder / "upstream").string(), (folder / "nuclei").string(), "--test"};
  for (const auto& [name, value] : options) words.insert(words.end(), {name, value});
  return run_program(MOEVIT_TRAIN_DOWNSTREAM_PROGRAM, words);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("train_downstream runs pipelines, and again only what is missing") {
  const TemporaryFolder folder;
  write_upstream(folder / "upstream");
  write_nuclei(folder / "nuclei", 9);
  const std::filesystem::path run = folder / "run", swin = run / "swin";
  const ProgramResult first = train(folder.path(), {{"--pipelines", "rmoe-i"}});
  INFO(first.errors);
  REQUIRE(first.code == 0);
  CHECK(has(first.output, "seed 1, RMoE-I: validation "));
  CHECK(has(first.output, "| RMoE-I | 1 |"));
  const std::string intermediate = read_text(swin / "upstream-RMoE-I/seed1/stage-2/weights.safetensors");
  CHECK(!intermediate.empty());

  // A downstream stage is lost: the stages before it are not trained again, and its weights have the same bytes.
  const std::filesystem::path downstream = swin / "nuclei-masks/RMoE-I/seed1";
  const std::string weights = read_text(downstream / "stage-3/weights.safetensors");
  CHECK(!weights.empty());
  std::filesystem::remove_all(downstream);
  std::filesystem::remove(run / "results.jsonl");
  const auto time = std::filesystem::last_write_time(swin / "upstream-dense/stage-1/weights.safetensors");
  const ProgramResult second = train(folder.path(), {{"--pipelines", "dense,rmoe-i,rmoe-d"}, {"--seeds", "1,2"}});
  INFO(second.errors);
  REQUIRE(second.code == 0);
  CHECK(std::filesystem::last_write_time(swin / "upstream-dense/stage-1/weights.safetensors") == time);
  CHECK(read_text(downstream / "stage-3/weights.safetensors") == weights);
  CHECK(read_text(swin / "upstream-RMoE-I/seed1/stage-2/weights.safetensors") == intermediate);
  const std::string results = read_text(run / "results.jsonl");
  CHECK(std::count(results.begin(), results.end(), '\n') == 6);
  CHECK(train(folder.path(), {{"--pipelines", "dense,rmoe-i,rmoe-d"}, {"--seeds", "1,2"}}).code == 0);
  CHECK(read_text(run / "results.jsonl") == results);

  const ProgramResult other = train(folder.path(), {{"--balance", "3"}});
  CHECK(other.code == 1);
  CHECK(has(other.errors, "these results are of another 'importance loss'"));
}

TEST_CASE("train_downstream prints gains, and says what is wrong") {
  const TemporaryFolder folder;
  write_upstream(folder / "upstream");
  write_nuclei(folder / "nuclei", 9);
  CHECK(run_program(MOEVIT_TRAIN_DOWNSTREAM_PROGRAM, {"--help"}).code == 0);
  CHECK(run_program(MOEVIT_TRAIN_DOWNSTREAM_PROGRAM, {"a", "b", "-o", "c", "--pipelines", "sparse"}).code == 2);
  const ProgramResult task = train(folder.path(), {{"--task", "bccd"}});
  CHECK(task.code == 1);
  std::filesystem::remove_all(folder / "upstream/train/class100");
  const ProgramResult classes = train(folder.path(), {{"--output", (folder / "other").string()}});
  CHECK(classes.code == 1);
  CHECK(has(classes.errors, "99 classes"));
}
