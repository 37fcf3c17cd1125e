// detect: boxes in pixels of the image, none and many of them, what it refuses.
#include "errors.hpp"
#include "examples/dense_programs.hpp"

#include <moevit/io/image.hpp>
#include <moevit/io/report/region_routing.hpp>

using namespace moevit;
using namespace moevit::test;
using nlohmann::json;

namespace {

ProgramResult detect(const std::vector<std::string>& arguments) {
  return run_program(MOEVIT_DETECT_PROGRAM, arguments);
}

/// results.json of a run that must go well.
json detected(const TemporaryFolder& folder, std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"-o", (folder / "out").string()});
  return results_of(detect(arguments), folder);
}

/// Options with which a model with random weights finds much.
const std::vector<std::string> crowded{"--least-score", "0", "--overlap", "1", "--most", "300"};

template <Backbone backbone, Task task, bool is_sparse>
void check_type(int classes) {
  const TemporaryFolder folder;
  std::vector<std::string> arguments{"-w", random_weights<backbone, task, is_sparse>(folder),
                                     write_ppm(folder / "a.ppm", 33, 57)};
  arguments.insert(arguments.end(), crowded.begin(), crowded.end());
  const json detections = detected(folder, arguments).at("images").at(0).at("detections");
  CHECK(detections.size() == 300);
  for (const json& one : detections) CHECK(one.at("class").get<int>() < classes);
}

}  // namespace

TEST_CASE("detect finds the type from the file: both backbones, both tasks, dense and with experts") {
  check_type<Backbone::swin, Task::nuclei_boxes, false>(1);
  check_type<Backbone::swin, Task::bccd, true>(3);
  check_type<Backbone::cvt, Task::nuclei_boxes, true>(1);
  check_type<Backbone::cvt, Task::bccd, false>(3);
}

TEST_CASE("detect gives the boxes of the model in pixels of the image, crowded ones too") {
  const TemporaryFolder folder;
  const auto net = random_net<Backbone::swin, Task::bccd, true>({"RBC", "WBC", "Platelets"});
  save(*net, folder / "weights.safetensors");
  constexpr MapSize size{51, 90}, seen{144, 254};
  const std::string path = write_ppm(folder / "a.ppm", size.height, size.width);
  std::vector<std::string> arguments{"-w", (folder / "weights.safetensors").string(), path, "--routing"};
  arguments.insert(arguments.end(), crowded.begin(), crowded.end());
  const json result = detected(folder, arguments).at("images").at(0);
  CHECK(result.at("seen") == json{{"height", seen.height}, {"width", seen.width}});

  Preprocessing target = net->preprocessing();
  target.height = seen.height, target.width = seen.width, target.shorter_side = 0;
  std::vector<float> values(static_cast<std::size_t>(float_count(target)));
  read_image(path, target, values);
  Context context = net->context({}, seen);
  DetectionOptions options{.least_score = 0};
  options.suppression.iou = 1, options.suppression.most = 300;
  const auto expected = net->detect(values, seen, context, options).at(0);
  REQUIRE(expected.size() == 300);
  REQUIRE(result.at("detections").size() == 300);
  const double x_scale = 90. / 254, y_scale = 51. / 144;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const json& one = result["detections"][i];
    CHECK(one.at("class") == expected[i].category);
    CHECK(one.at("score").get<double>() == Approx(expected[i].score));
    const auto box = one.at("box").get<std::vector<double>>();
    CHECK(box.at(0) == Approx(x_scale * expected[i].box.x));
    CHECK(box.at(1) == Approx(y_scale * expected[i].box.y));
    CHECK(box.at(2) == Approx(x_scale * expected[i].box.width));
    CHECK(box.at(3) == Approx(y_scale * expected[i].box.height));
    CHECK(box[0] + box[2] <= 90 + 1e-9);
    CHECK(box[1] + box[3] <= 51 + 1e-9);
  }
  const std::string page = read_text(folder / "out/report.html");
  CHECK(occurrences(page, "class=\"box\"") == 300);
  CHECK(contains(page, "RBC"));
  CHECK(contains(
      read_text(folder / "out/routing.html"),
      "<h3>" + region_blocks<examples::downstream::Net<Backbone::swin, Task::bccd, true>>().at(0).name() + "</h3>"));
}

TEST_CASE("detect runs models in reduced precision") {
  const TemporaryFolder folder;
  const auto net = random_net<Backbone::cvt, Task::bccd, true>({"RBC", "WBC", "Platelets"});
  save(*net, folder / "weights.safetensors");
  const std::string path = write_ppm(folder / "a.ppm", 33, 57);
  const auto scores = [&](const std::string& precision) {
    std::vector<std::string> arguments{"-w", (folder / "weights.safetensors").string(), path, "--precision", precision};
    arguments.insert(arguments.end(), crowded.begin(), crowded.end());
    std::vector<double> list;
    const json detections = detected(folder, arguments).at("images").at(0).at("detections");
    for (const json& one : detections) list.push_back(one.at("score").get<double>());
    return list;
  };
  const std::vector<double> whole = scores("float32");
  REQUIRE(whole.size() == 300);
  for (const char* precision : {"bf16", "int8"}) {
    const std::vector<double> reduced = scores(precision);
    REQUIRE(reduced.size() == whole.size());
    CHECK(reduced != whole);
    CHECK(reduced.front() == Approx(whole.front()).epsilon(0.1));
  }
  CHECK(detect({"-w", (folder / "weights.safetensors").string(), path, "-o", (folder / "out").string(), "--precision",
                "half"})
            .code != 0);
}

TEST_CASE("detect says that there is nothing, and takes images of one pixel") {
  const TemporaryFolder folder;
  const std::string weights = random_weights<Backbone::swin, Task::nuclei_boxes, false>(folder, {"nucleus"});
  write_ppm(folder / "in/a.ppm", 1, 1);
  write_ppm(folder / "in/b.ppm", 31, 100);
  const ProgramResult result =
      detect({"-w", weights, (folder / "in").string(), "-o", (folder / "out").string(), "--least-score", "0.999"});
  REQUIRE(result.code == 0);
  CHECK(contains(result.output, (folder / "in/a.ppm").string() + "\tnothing\n"));
  const json images = read_json(folder / "out/results.json").at("images");
  REQUIRE(images.size() == 2);
  for (const json& image : images) CHECK(image.at("detections").empty());
  const std::string page = read_text(folder / "out/report.html");
  CHECK(occurrences(page, "data:image/png;base64,") == 2);
  CHECK_FALSE(contains(page, "class=\"box\""));
}

TEST_CASE("detect keeps fewer of boxes that overlap when told so, and the same with any threads") {
  const TemporaryFolder folder;
  const std::string weights = random_weights<Backbone::swin, Task::nuclei_boxes, false>(folder);
  const std::string image = write_ppm(folder / "a.ppm", 64, 64);
  const auto found = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"-w", weights, image, "--least-score", "0", "--most", "1000"});
    return detected(folder, more).at("images").at(0).at("detections");
  };
  const json all = found({"--overlap", "1"}), some = found({"--overlap", "0.3", "--threads", "1"});
  CHECK(some.size() < all.size());
  CHECK_FALSE(some.empty());
  CHECK(found({"--overlap", "0.3", "--threads", "3"}) == some);
  for (std::size_t i = 1; i < all.size(); ++i)
    CHECK(all[i]["score"].get<double>() <= all[i - 1]["score"].get<double>());
}

TEST_CASE("detect refuses other weights and images it cannot read") {
  const TemporaryFolder folder;
  const std::string image = write_ppm(folder / "a.ppm", 20, 20), output = (folder / "out").string(),
                    bad = (folder / "bad.jpg").string();
  const ProgramResult classifier = detect({"-w", fashion_vmoe(), image, "-o", output});
  CHECK(classifier.code == 1);
  CHECK(contains(classifier.errors, "the program classify"));
  const std::string segmenter = random_weights<Backbone::swin, Task::nuclei_masks, false>(folder);
  CHECK(contains(detect({"-w", segmenter, image, "-o", output}).errors, "holds a segmenter"));
  const ProgramResult classified = run_program(MOEVIT_ROUTING_REPORT_PROGRAM, {"-w", segmenter, image, "-o", output});
  CHECK(classified.code == 1);
  CHECK(contains(classified.errors, "holds a segmenter, which the program segment takes"));
  const std::string weights = random_weights<Backbone::cvt, Task::bccd, false>(folder);
  CHECK(detect({"-w", weights, image, "-o", output, "--least-score", "1"}).code == 2);
  std::ofstream(bad) << "\xFF\xD8\xFF not much of a JPEG";
  const ProgramResult result = detect({"-w", weights, bad, image, "-o", output});
  CHECK(result.code == 1);
  CHECK(contains(result.errors, bad));
  CHECK(read_json(folder / "out/results.json").at("images").size() == 1);
}
