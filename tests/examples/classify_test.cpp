// classify: what it prints for good and bad images, weights and options.
#include "archive.hpp"
#include "examples/run_program.hpp"

#include <moevit/io/weights.hpp>
#include <moevit/moevit.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace moevit::test;
using nlohmann::json;

namespace {

ProgramResult classify(const std::vector<std::string>& arguments) {
  return run_program(MOEVIT_CLASSIFY_PROGRAM, arguments);
}

/// The JSON of a run that must go well.
json classified(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  const ProgramResult result = classify(arguments);
  INFO(result.errors);
  REQUIRE(result.code == 0);
  return json::parse(result.output);
}

/// Folder of `count` images.
void write_images(const TemporaryFolder& folder, int count) {
  for (int i = 0; i < count; ++i) write_pgm(folder / ("images/" + std::to_string(i) + ".pgm"), i);
}

struct Unknown
    : moevit::Vit<moevit::VitConfig{
          .image = 8, .patch = 4, .channels = 1, .dim = 16, .depth = 1, .heads = 2, .hidden = 16, .classes = 3}> {};

}  // namespace

TEST_CASE("classify runs in bf16 and int8 with nearly the same probabilities") {
  const TemporaryFolder folder;
  write_images(folder, 4);
  const std::string images = (folder / "images").string();
  const json exact = classified({"-w", fashion_vmoe(), images});
  for (const std::string precision : {"bf16", "int8"}) {
    CAPTURE(precision);
    const json reduced = classified({"-w", fashion_vmoe(), "--precision", precision, images});
    for (std::size_t i = 0; i < 4; ++i) {
      const double expected = exact["predictions"][i]["probability"], found = reduced["predictions"][i]["probability"];
      CHECK(std::abs(found - expected) < 0.1);
    }
  }
  CHECK(classify({"-w", fashion_vmoe(), "--precision", "int3", images}).code != 0);
}

TEST_CASE("classify prints every image with class, probability and experts as JSON") {
  const TemporaryFolder folder;
  write_images(folder, 3);
  const json result = classified({"-w", fashion_vmoe(), (folder / "images").string()});
  CHECK(result["images"] == 3);
  CHECK(result["top1_correct"].is_null());
  CHECK(result["accuracy"].is_null());
  CHECK(result["images_per_second"].get<double>() > 0);
  CHECK(result["build"].is_string());
  REQUIRE(result["predictions"].size() == 3);
  for (int i = 0; i < 3; ++i) {
    const json& prediction = result["predictions"][static_cast<std::size_t>(i)];
    CHECK(prediction["file"] == (folder / ("images/" + std::to_string(i) + ".pgm")).string());
    CHECK(prediction["class"].get<int>() >= 0);
    CHECK(prediction["class"].get<int>() < 10);
    CHECK(prediction["name"].get<std::string>().size() > 2);
    CHECK(prediction["probability"].get<double>() > 0.1);
    CHECK(prediction["probability"].get<double>() <= 1.0);
    const auto tokens = prediction["expert_tokens"].get<std::vector<int>>();
    CHECK(tokens.size() == prediction["experts"].size());
    CHECK(std::accumulate(tokens.begin(), tokens.end(), 0) == 100);  // 50 tokens, two experts each, nothing dropped
    CHECK(std::is_sorted(tokens.rbegin(), tokens.rend()));
  }
}

TEST_CASE("classify names the one expert of an image for a Mobile V-MoE") {
  const TemporaryFolder folder;
  write_images(folder, 2);
  for (const json& prediction :
       classified({"-w", fashion_mobile_vmoe(), (folder / "images").string()})["predictions"]) {
    CHECK(prediction["experts"].size() == 1);
    CHECK(prediction["expert_tokens"] == json::array({50}));
  }
  const json two = classified({"-w", fashion_mobile_vmoe(), "--selected", "2", (folder / "images").string()});
  CHECK(two["predictions"][0]["experts"].size() == 2);
}

TEST_CASE("classify gives the same predictions for any batch and number of threads when nothing is dropped") {
  const TemporaryFolder folder;
  write_images(folder, 5);
  const std::string images = (folder / "images").string();
  const json expected = classified({"-w", fashion_vmoe(), images, "--threads", "2"})["predictions"];
  for (const char* batch : {"1", "2", "5", "1000000"})
    CHECK(classified({"-w", fashion_vmoe(), images, "--batch", batch})["predictions"] == expected);
  CHECK(classified({"-w", fashion_vmoe(), images, "--threads", "1"})["predictions"] == expected);
}

TEST_CASE("classify lets the last images form a smaller group when capacity is limited") {
  const TemporaryFolder folder;
  write_images(folder, 5);
  const std::string images = (folder / "images").string();
  const json grouped =
      classified({"-w", fashion_vmoe(), images, "--group", "2", "--capacity", "0.5", "--priority", "max-gate"});
  REQUIRE(grouped["predictions"].size() == 5);
  // The last image is a group of its own, as it is when classified alone.
  const json alone = classified({"-w", fashion_vmoe(), (folder / "images/4.pgm").string(), "--group", "2", "--capacity",
                                 "0.5", "--priority", "max-gate"});
  CHECK(alone["predictions"][0] == grouped["predictions"][4]);
  const auto tokens = alone["predictions"][0]["expert_tokens"].get<std::vector<int>>();
  CHECK(*std::max_element(tokens.begin(), tokens.end()) <= 8);  // ceil(50 * 2 * 0.5 / 8) = 7, raised to a multiple of 4
}

TEST_CASE("classify takes labels from folders named as the model's classes and counts what is right") {
  const TemporaryFolder folder;
  for (const char* name : {"Bag", "Sandal", "Not a class"})
    for (int i = 0; i < 2; ++i)
      write_pgm(folder / ("classes/" + std::string(name) + "/" + std::to_string(i) + ".pgm"), i);
  const ProgramResult run = classify({"-w", fashion_vmoe(), "--json", "--top", "3", (folder / "classes").string()});
  CHECK(run.code == 0);
  CHECK(run.errors.find("'Not a class'") != std::string::npos);
  const json result = json::parse(run.output);
  int correct = 0, labelled = 0;
  for (const json& prediction : result["predictions"]) {
    CHECK(prediction["top"].size() == 3);
    CHECK(prediction["top"][0]["class"] == prediction["class"]);
    if (!prediction.contains("label")) continue;
    ++labelled;
    CHECK((prediction["label"] == 8 || prediction["label"] == 5));
    correct += prediction["label"] == prediction["class"];
  }
  CHECK(labelled == 4);
  CHECK(result["top1_correct"] == correct);
  CHECK(result["accuracy"].get<double>() == Approx(correct / 4.0));
}

TEST_CASE("classify reports images it cannot read, goes on, and ends with exit code 1") {
  const TemporaryFolder folder;
  write_images(folder, 3);
  const std::string bad = (folder / "images/1.pgm").string(), missing = (folder / "missing.png").string();
  std::ofstream(bad) << "P5\n28 28\n255\nshort";
  const ProgramResult result = classify({"-w", fashion_vmoe(), "--json", (folder / "images").string(), missing});
  CHECK(result.code == 1);
  CHECK(result.errors.find(bad) != std::string::npos);
  CHECK(result.errors.find(missing) != std::string::npos);
  const json printed = json::parse(result.output);
  CHECK(printed["images"] == 2);
  CHECK(printed["predictions"][1]["file"] == (folder / "images/2.pgm").string());
}

TEST_CASE("classify handles no image at all") {
  const TemporaryFolder folder;
  write_images(folder, 1);
  const json none = classified({"-w", fashion_vmoe(), "--limit", "0", (folder / "images").string()});
  CHECK(none["images"] == 0);
  CHECK(none["predictions"].empty());
  CHECK(none["accuracy"].is_null());
}

TEST_CASE("classify refuses weights that are absent, damaged or of no known model") {
  const TemporaryFolder folder;
  write_images(folder, 1);
  const std::string image = (folder / "images/0.pgm").string(), weights = (folder / "bad.safetensors").string();
  const auto refused = [&] {
    const ProgramResult result = classify({"-w", weights, image});
    CHECK(result.code == 1);
    CHECK(result.output.empty());
    CHECK(result.errors.find(weights) != std::string::npos);
    return result.errors;
  };
  refused();  // absent
  std::ofstream(weights) << read_text(fashion_vmoe()).substr(0, 100000);
  refused();  // cut off
  moevit::save(Unknown{}, weights);
  CHECK(refused().find("moevit::Vit<moevit::VitConfig{.image = 8, .patch = 4") != std::string::npos);
}

TEST_CASE("classify finds 9005 and 9278 of the 10,000 test images of Fashion-MNIST", "[large]") {
  const auto images = fashion_mnist();
  if (!images) return;
  const auto correct = [&](const std::string& weights, std::vector<std::string> more) {
    more.insert(more.end(), {"-w", weights, "--split", "t10k", "--summary", *images});
    return classified(more)["top1_correct"].get<int>();
  };
  CHECK(correct(fashion_vmoe(), {}) == 9005);
  CHECK(correct(fashion_mobile_vmoe(), {}) == 9278);
  CHECK(correct(fashion_vmoe(), {"--capacity", "0.1", "--group", "8"}) == 8803);
  CHECK(correct(fashion_vmoe(), {"--capacity", "0.1", "--group", "8", "--priority", "max-gate"}) == 8942);
}

TEST_CASE("classify finds 8070 of the 10,000 test images of CIFAR-10", "[large]") {
  const auto images = unpacked("cifar10-jpeg.tar.gz");
  if (!images) return;
  const json result = classified({"-w", cifar_mobile_vmoe(), "--split", "test", "--summary", images->path().string()});
  CHECK(result["top1_correct"].get<int>() == 8070);
}
