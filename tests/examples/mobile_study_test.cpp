// train_mobile_vmoe and ablate: the whole way from images to a model, tables, what is trained only once, and refusals.
#include "common/statistics.hpp"
#include "examples/run_program.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

using namespace moevit::test;

namespace {

/// Ten classes of 28 x 28 grey images in a split for training.
void write_images(const std::filesystem::path& folder) {
  for (int label = 0; label < 10; ++label)
    for (int image = 0; image < 20; ++image)
      write_pgm(folder / "train" / ("class" + std::to_string(label)) / (std::to_string(image) + ".pgm"), label + 1);
}

std::vector<std::string> arguments(const std::filesystem::path& data, const std::filesystem::path& output,
                                   const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{
      data.string(),       "-o", output.string(), "--images", "fashion",   "--epochs", "4", "--batch", "10",
      "--upcycled-epochs", "2",  "--flip",        "0",        "--threads", "1"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::ptrdiff_t lines_of(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace

TEST_CASE("train_mobile_vmoe goes from images to a model that classify takes, once") {
  const TemporaryFolder folder;
  write_images(folder / "data");
  const std::filesystem::path output = folder / "run";
  const ProgramResult trained = run_program(MOEVIT_TRAIN_MOBILE_VMOE_PROGRAM, arguments(folder / "data", output));
  INFO(trained.errors);
  REQUIRE(trained.code == 0);
  CHECK(trained.output.find("| super-class-e3-k1-l2 | 1 |") != std::string::npos);
  const std::string list = read_text(output / "seed1" / "super_classes-e3.txt");
  CHECK(list.find("modularity ") == 0);
  CHECK(lines_of(list) == 4);
  for (int label = 0; label < 10; ++label) CHECK(list.find(" class" + std::to_string(label)) != std::string::npos);
  CHECK(read_text(output / "seed1" / "super_classes-e3.html").find("<svg") != std::string::npos);

  const ProgramResult classified =
      run_program(MOEVIT_CLASSIFY_PROGRAM,
                  {"--weights", (output / "seed1" / "super-class-e3-k1-l2" / "weights.safetensors").string(),
                   (folder / "data" / "train").string(), "--summary", "--threads", "1"});
  INFO(classified.errors);
  CHECK(classified.code == 0);

  const std::string results = read_text(output / "results.jsonl");
  CHECK(lines_of(results) == 2);
  CHECK(run_program(MOEVIT_TRAIN_MOBILE_VMOE_PROGRAM, arguments(folder / "data", output)).code == 0);
  CHECK(read_text(output / "results.jsonl") == results);
  const ProgramResult other =
      run_program(MOEVIT_TRAIN_MOBILE_VMOE_PROGRAM, arguments(folder / "data", output, {"--learning-rate", "0.5"}));
  CHECK(other.code == 1);
  CHECK(other.errors.find("these results are of another 'learning rate'") != std::string::npos);
}

TEST_CASE("ablate trains every arm of a table from scratch and from dense weights") {
  const TemporaryFolder folder;
  write_images(folder / "data");
  const std::filesystem::path output = folder / "run";
  const ProgramResult scratch =
      run_program(MOEVIT_ABLATE_PROGRAM, arguments(folder / "data", output, {"--table", "routing", "--seeds", "1,2"}));
  INFO(scratch.errors);
  REQUIRE(scratch.code == 0);
  for (const char* arm : {"dense", "super-class", "end-to-end", "random", "per-token", "oracle"})
    CHECK(scratch.output.find(std::string("| ") + arm) != std::string::npos);
  CHECK(lines_of(read_text(output / "results.jsonl")) == 12);

  // The dense weights are lost, as on another machine: the same are made again.
  const std::string weights = read_text(output / "seed1" / "dense" / "weights.safetensors");
  std::filesystem::remove_all(output / "seed1");
  const ProgramResult upcycled = run_program(
      MOEVIT_ABLATE_PROGRAM, arguments(folder / "data", output, {"--table", "main", "--seeds", "1", "--upcycled"}));
  INFO(upcycled.errors);
  REQUIRE(upcycled.code == 0);
  CHECK(upcycled.output.find("| super-class-e3-k1-l2-upcycled | 1 |") != std::string::npos);
  CHECK(read_text(output / "seed1" / "dense" / "weights.safetensors") == weights);

  const ProgramResult shape = run_program(
      MOEVIT_ABLATE_PROGRAM, arguments(folder / "data", output, {"--table", "main", "--seeds", "1", "-E", "7"}));
  CHECK(shape.code == 1);
  CHECK(shape.errors.find("no model with 7 experts, k = 1, 2 layers is compiled") != std::string::npos);
}

TEST_CASE("confidence intervals are Student's") {
  const examples::Estimate three = examples::estimate({1, 2, 3});
  CHECK(three.mean == Approx(2));
  CHECK(three.half_width == Approx(2.9200 / std::sqrt(3.)));
  CHECK(examples::text_of(three, 1) == "2.00 ± 1.69");
  CHECK(std::isinf(examples::estimate({5}).half_width));
  CHECK(examples::text_of(examples::estimate({0.5})) == "50.00");
  CHECK(examples::text_of(examples::estimate({})) == "-");
  CHECK(examples::t_quantile(7) == Approx(1.8946));
  CHECK(examples::t_quantile(60) == Approx(1.6706).epsilon(1e-3));
}
