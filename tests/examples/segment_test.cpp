// segment: masks and shares of images of any size, what it refuses.
#include "errors.hpp"
#include "examples/dense_programs.hpp"

#include <moevit/io/image.hpp>
#include <moevit/io/report/region_routing.hpp>
#include <moevit/models/packed.hpp>

using namespace moevit;
using namespace moevit::test;
using nlohmann::json;

namespace {

ProgramResult segment(const std::vector<std::string>& arguments) {
  return run_program(MOEVIT_SEGMENT_PROGRAM, arguments);
}

/// results.json of a run that must go well.
json segmented(const TemporaryFolder& folder, std::vector<std::string> arguments) {
  const std::string output = (folder / "out").string();
  arguments.insert(arguments.end(), {"-o", output});
  const ProgramResult result = segment(arguments);
  json results = results_of(result, folder);
  CHECK(contains(result.output, output + "/report.html\n" + output + "/results.json\n"));
  return results;
}

/// Shares and mask of one image must go together and fill it.
void check_image(const TemporaryFolder& folder, const json& image, Index height, Index width, std::size_t classes) {
  CHECK(image.at("height") == height);
  CHECK(image.at("width") == width);
  const Image mask = load_image(folder / ("out/" + image.at("mask").get<std::string>()));
  REQUIRE(mask.height() == height);
  REQUIRE(mask.width() == width);
  REQUIRE(mask.channels() == 1);
  REQUIRE(image.at("classes").size() == classes);
  std::vector<Index> pixels(classes);
  for (const std::uint8_t number : mask.pixels()) ++pixels.at(number);
  for (std::size_t i = 0; i < classes; ++i) {
    CHECK(image["classes"][i].at("pixels") == pixels[i]);
    CHECK(image["classes"][i].at("share").get<double>() ==
          Approx(static_cast<double>(pixels[i]) / static_cast<double>(height * width)));
  }
}

template <Backbone backbone, Task task, bool is_sparse>
void check_type(std::size_t classes) {
  const TemporaryFolder folder;
  const std::string weights = random_weights<backbone, task, is_sparse>(folder);
  const std::string image = write_ppm(folder / "in/a.ppm", 33, 57);
  const json result = segmented(folder, {"-w", weights, image, "--masks"});
  REQUIRE(result.at("images").size() == 1);
  check_image(folder, result["images"][0], 33, 57, classes);
  CHECK(result["images"][0]["classes"][1]["name"] == "1");
}

}  // namespace

TEST_CASE("segment finds the type from the file: both backbones, both tasks, dense and with experts") {
  check_type<Backbone::swin, Task::nuclei_masks, true>(2);
  check_type<Backbone::swin, Task::camvid, false>(11);
  check_type<Backbone::cvt, Task::nuclei_masks, false>(2);
  check_type<Backbone::cvt, Task::camvid, true>(11);
}

TEST_CASE("segment gives the classes that the model gives, in the size of the image") {
  const TemporaryFolder folder;
  const auto net = random_net<Backbone::swin, Task::nuclei_masks, true>({"background", "nucleus"});
  save(*net, folder / "weights.safetensors");
  const std::string weights = (folder / "weights.safetensors").string();
  constexpr MapSize size{90, 51};
  const std::string path = write_ppm(folder / "in/a.ppm", size.height, size.width);
  const auto expected = [&](MapSize seen, auto run) {
    Preprocessing target = net->preprocessing();
    target.height = seen.height, target.width = seen.width, target.shorter_side = 0;
    std::vector<float> values(static_cast<std::size_t>(float_count(target)));
    read_image(path, target, values);
    std::vector<float> logits(static_cast<std::size_t>(2 * seen.places()));
    Context context = net->context({}, seen);
    run(values, logits, context);
    std::vector<std::int32_t> classes(static_cast<std::size_t>(size.places()));
    top_classes_of_pixels({logits.data(), seen.places(), 2}, seen, classes, size);
    return std::vector<std::uint8_t>(classes.begin(), classes.end());
  };
  const auto mask = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"-w", weights, path, "--masks"});
    const json result = segmented(folder, more);
    const Image image = load_image(folder / "out/a.ppm.mask.png");
    return std::pair(std::vector<std::uint8_t>(image.pixels().begin(), image.pixels().end()),
                     result["images"][0]["seen"]);
  };
  constexpr MapSize trained{225, 128};  // the shorter side as in training
  const auto [whole, seen] = mask({});
  CHECK(seen == json{{"height", trained.height}, {"width", trained.width}});
  CHECK(whole == expected(trained, [&](const auto& values, auto& logits, Context& context) {
          net->segment(values, trained, logits, context);
        }));
  const auto [small, seen_small] = mask({"--shorter-side", "34"});
  CHECK(seen_small == json{{"height", 60}, {"width", 34}});
  CHECK(small == expected({60, 34}, [&](const auto& values, auto& logits, Context& context) {
          net->segment(values, {60, 34}, logits, context);
        }));
  const auto [windows, seen_windows] = mask({"--window", "40,32", "--stride", "30,20"});
  CHECK(seen_windows == json{{"height", 90}, {"width", 51}});
  CHECK(windows == expected(size, [&](const auto& values, auto& logits, Context& context) {
          net->segment(values, size, logits, context, {{40, 32}, {30, 20}});
        }));
  CHECK(windows != whole);
  CHECK(mask({"--window", "40,32", "--stride", "30,20", "--most-pixels", "1280"}).first == windows);
  const auto [own, seen_own] = mask({"--shorter-side", "0"});
  CHECK(seen_own == seen_windows);
  CHECK(own == mask({"--window", "500,500"}).first);
  CHECK(mask({"--threads", "1"}).first == mask({"--threads", "3"}).first);
  const auto packed = pack<Bf16>(*net);
  const auto reduced = mask({"--precision", "bf16"}).first;
  CHECK(reduced == expected(trained, [&](const auto& values, auto& logits, Context& context) {
          packed.segment(values, trained, logits, context);
        }));
  CHECK(reduced != whole);
}

TEST_CASE("segment takes images of one pixel, strips, folders and images of one name") {
  const TemporaryFolder folder;
  const std::string weights = random_weights<Backbone::cvt, Task::nuclei_masks, false>(folder, {"no <b>", "yes"});
  write_ppm(folder / "in/a.ppm", 1, 1);
  write_ppm(folder / "in/b.ppm", 40, 3, 2);
  write_pgm(folder / "in/c.pgm", 3);
  const std::string other = write_ppm(folder / "other/a.ppm", 5, 9);
  const json images =
      segmented(folder, {"-w", weights, (folder / "in").string(), other, "--masks", "--pictures", "2"}).at("images");
  REQUIRE(images.size() == 4);
  check_image(folder, images[0], 1, 1, 2);
  check_image(folder, images[1], 40, 3, 2);
  check_image(folder, images[2], 28, 28, 2);
  check_image(folder, images[3], 5, 9, 2);
  CHECK(images[0]["mask"] == "a.ppm.mask.png");
  CHECK(images[3]["mask"] == "a.ppm.mask-2.png");
  CHECK(images[3]["image"] == other);
  const std::string page = read_text(folder / "out/report.html");
  CHECK(occurrences(page, "data:image/png;base64,") == 4);  // two images, each with its classes
  CHECK(contains(page, "no &lt;b&gt;"));
  CHECK_FALSE(contains(page, "<b>"));
  CHECK_FALSE(std::filesystem::exists(folder / "out/routing.html"));
  CHECK(segmented(folder, {"-w", weights, other, "--limit", "0"}).at("images").empty());
}

TEST_CASE("segment shows which expert took which region, all places counted") {
  const TemporaryFolder folder;
  const std::string weights = random_weights<Backbone::swin, Task::nuclei_masks, true>(folder);
  write_ppm(folder / "in/a.ppm", 40, 60);
  write_ppm(folder / "in/b.ppm", 31, 31, 2);
  const ProgramResult result = segment(
      {"-w", weights, (folder / "in").string(), "-o", (folder / "out").string(), "--routing", "--pictures", "1"});
  INFO(result.errors);
  REQUIRE(result.code == 0);
  CHECK(contains(result.output, "routing.html\n"));
  const std::string page = read_text(folder / "out/routing.html");
  using Net = examples::downstream::Net<Backbone::swin, Task::nuclei_masks, true>;
  const auto blocks = region_blocks<Net>();
  REQUIRE_FALSE(blocks.empty());
  CHECK(occurrences(page, "data:image/png;base64,") == 1 + blocks.size());  // the image, and once for each block
  for (const RegionBlock& block : blocks) {
    CHECK(contains(page, "<h3>" + block.name() + "</h3>"));
    const MapSize map = Net::map_sizes({128, 192}).at(static_cast<std::size_t>(block.stage));
    CHECK(contains(page, std::to_string(map.height) + " x " + std::to_string(map.width) + " places"));
  }
  CHECK(contains(page, "<td>none</td><td class=\"number\">0%</td><td class=\"number\">0</td>"));
  CHECK(contains(page, "2 images; 1 of " + std::to_string(Net::moe.experts) + " experts per place"));
}

TEST_CASE("segment reports images it cannot read, goes on, and ends with exit code 1") {
  const TemporaryFolder folder;
  const std::string weights = random_weights<Backbone::cvt, Task::nuclei_masks, false>(folder);
  const std::string good = write_ppm(folder / "good.ppm", 20, 20), bad = (folder / "bad.ppm").string(),
                    empty = (folder / "empty.png").string(), missing = (folder / "missing.png").string(),
                    long_strip = write_ppm(folder / "strip.ppm", 1, 3000);
  std::ofstream(bad) << "P6\n28 28\n255\nshort";
  std::ofstream(empty).flush();
  const std::string output = (folder / "out").string();
  const ProgramResult result = segment({"-w", weights, bad, empty, missing, long_strip, good, "-o", output});
  CHECK(result.code == 1);
  for (const std::string& name : {bad, empty, missing, long_strip}) CHECK(contains(result.errors, name));
  CHECK(contains(result.errors, "3000 x 1 pixels as 384000 x 128"));
  const json images = read_json(folder / "out/results.json").at("images");
  REQUIRE(images.size() == 1);
  CHECK(images[0]["image"] == good);
}

TEST_CASE("segment refuses weights, options and folders that make no sense") {
  const TemporaryFolder folder;
  const std::string image = write_ppm(folder / "a.ppm", 20, 20), output = (folder / "out").string();
  const auto errors = [&](const std::string& weights, int code, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"-w", weights, image, "-o", output});
    const ProgramResult result = segment(more);
    CHECK(result.code == code);
    CHECK(result.output.empty());
    CHECK_FALSE(std::filesystem::exists(output));
    return result.errors;
  };
  CHECK(contains(errors(fashion_vmoe(), 1), "the program classify"));
  CHECK(contains(errors((folder / "absent").string(), 1), "absent"));
  CHECK(contains(errors(random_weights<Backbone::swin, Task::bccd, false>(folder), 1), "holds a detector"));
  const std::string weights = random_weights<Backbone::cvt, Task::nuclei_masks, false>(folder, {"a", "b"});
  errors(weights, 2, {"--window", "12"});
  errors(weights, 2, {"--window", "12,0"});
  errors(weights, 2, {"--stride", "12,12"});
  errors(weights, 2, {"--window", "12,12", "--routing"});
  CHECK(contains(errors(weights, 1, {"--window", "12,12", "--stride", "13,12"}), "a stride from 1"));
  CHECK(contains(errors(weights, 1, {"--window", "12,12", "--most-pixels", "143"}), "the limit is 143 pixels"));
  CHECK(contains(errors(weights, 1, {"--routing"}), "no sparse block"));
  save(*random_net<Backbone::cvt, Task::nuclei_masks, false>({"a", "b", "c"}), folder / "weights.safetensors");
  CHECK(contains(errors(weights, 1), "the names of 2 classes, found 3"));
  std::ofstream(output) << "a file";
  const ProgramResult result = segment({"-w", weights, image, "-o", output});
  CHECK(result.code == 1);
}
