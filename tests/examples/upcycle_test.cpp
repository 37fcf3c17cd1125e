// upcycle: a dense model becomes a sparse one that classify takes and train goes on with.
#include "examples/run_program.hpp"

#include <moevit/train/training_log.hpp>

#include <sstream>

using namespace moevit::test;

namespace {

void write_classes(const std::filesystem::path& folder) {
  for (int label = 0; label < 10; ++label)
    for (int image = 0; image < 4; ++image)
      write_pgm(folder / ("class" + std::to_string(label)) / (std::to_string(image) + ".pgm"), label + 1);
}

ProgramResult train(const std::filesystem::path& images, const std::filesystem::path& output,
                    std::vector<std::string> words) {
  words.insert(words.begin(), {images.string(), "--output", output.string(), "--whole", "--batch", "8", "--steps", "60",
                               "--warmup", "4", "--learning-rate", "0.003", "--log-every", "4", "--threads", "1"});
  return run_program(MOEVIT_TRAIN_PROGRAM, words);
}

/// Predictions of the images, without the experts.
std::string classes_of(const std::filesystem::path& weights, const std::filesystem::path& images) {
  const ProgramResult result =
      run_program(MOEVIT_CLASSIFY_PROGRAM, {"--weights", weights.string(), images.string(), "--threads", "1"});
  INFO(result.errors);
  REQUIRE(result.code == 0);
  std::istringstream lines(result.output);
  std::string classes;
  for (std::string line; std::getline(lines, line) && line.find('\t') != std::string::npos;)
    classes += line.substr(0, line.find("\texperts")) + '\n';
  return classes;
}

}  // namespace

TEST_CASE("an upcycled model classifies as the dense one, and train goes on from it") {
  const TemporaryFolder folder;
  const std::filesystem::path images = folder / "images", dense = folder / "dense",
                              sparse = folder / "sparse.safetensors";
  write_classes(images);
  REQUIRE(train(images, dense, {"--model", "vit"}).code == 0);
  const ProgramResult written =
      run_program(MOEVIT_UPCYCLE_PROGRAM, {(dense / "weights.safetensors").string(), "-o", sparse.string()});
  INFO(written.errors);
  REQUIRE(written.code == 0);
  CHECK(written.output == sparse.string() + "\n");
  CHECK(classes_of(sparse, images) == classes_of(dense / "weights.safetensors", images));

  const std::vector<std::string> words{"--model", "upcycled", "--start", sparse.string()};
  const ProgramResult trained = train(images, folder / "run", words);
  INFO(trained.errors);
  REQUIRE(trained.code == 0);
  const moevit::TrainingHistory first = moevit::read_training_log(dense / "log.jsonl"),
                                second = moevit::read_training_log(folder / "run" / "log.jsonl");
  CHECK(second.training.front().loss < 0.8 * first.training.front().loss);
  const ProgramResult other = train(images, folder / "run", {"--model", "upcycled"});
  CHECK(other.code == 1);
  CHECK(other.errors.find("note, start: the checkpoint has ") != std::string::npos);
  const ProgramResult wrong = train(images, folder / "wrong", {"--model", "vmoe", "--start", sparse.string()});
  CHECK(wrong.code == 1);
  CHECK(wrong.errors.find("was saved from another configuration") != std::string::npos);
}

TEST_CASE("upcycle makes a V-MoE or a Mobile V-MoE, too, and refuses what is not dense") {
  const TemporaryFolder folder;
  write_classes(folder / "images");
  REQUIRE(train(folder / "images", folder / "dense", {"--model", "vit"}).code == 0);
  for (const char* model : {"vmoe", "mobile"}) {
    INFO(model);
    const std::filesystem::path sparse = folder / (std::string(model) + ".safetensors");
    const ProgramResult result = run_program(
        MOEVIT_UPCYCLE_PROGRAM,
        {(folder / "dense" / "weights.safetensors").string(), "-o", sparse.string(), "--model", model, "--seed", "5"});
    INFO(result.errors);
    CHECK(result.code == 0);
    CHECK_FALSE(classes_of(sparse, folder / "images").empty());
  }
  const ProgramResult refused =
      run_program(MOEVIT_UPCYCLE_PROGRAM, {fashion_vmoe(), "-o", (folder / "x.safetensors").string()});
  CHECK(refused.code == 1);
  CHECK(refused.errors.find("expected a dense model that train writes") != std::string::npos);
}
