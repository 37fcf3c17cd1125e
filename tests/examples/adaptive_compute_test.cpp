// adaptive_compute: a table, JSON lines and charts of a V-MoE with less and less compute.
#include "examples/run_program.hpp"

#include <nlohmann/json.hpp>

#include <map>
#include <sstream>

using namespace moevit::test;

namespace {

std::string write_classes(const TemporaryFolder& folder) {
  for (const char* name : {"Bag", "Sandal", "Coat"})
    for (int i = 0; i < 4; ++i)
      write_pgm(folder / ("classes/" + std::string(name) + "/" + std::to_string(i) + ".pgm"), i);
  return (folder / "classes").string();
}

std::vector<nlohmann::json> lines_of(const std::filesystem::path& path) {
  std::istringstream text(read_text(path));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

}  // namespace

TEST_CASE("adaptive_compute measures capacity, k and random routers") {
  const TemporaryFolder folder;
  const std::string images = write_classes(folder);
  const std::filesystem::path output = folder / "study";
  const ProgramResult result =
      run_program(MOEVIT_ADAPTIVE_COMPUTE_PROGRAM,
                  {images, "-w", fashion_vmoe(), "-o", output.string(), "--split", "", "--validation", "0", "--group",
                   "5", "--capacities", "1,0.25", "--selected", "1,2,8", "--threads", "1"});
  INFO(result.errors);
  REQUIRE(result.code == 0);
  CHECK(result.output == read_text(output / "adaptive.txt"));
  CHECK(result.output.starts_with("12 images in groups of 5, 1 threads\n"));
  const std::vector<nlohmann::json> lines = lines_of(output / "adaptive.jsonl");
  REQUIRE(lines.size() == 1 + 2 * 3 + 3 + 1 + 2 + 1);  // blocks 1 and 3 are sparse
  std::map<std::string, int> studies;
  for (const auto& line : lines) {
    ++studies[line.at("study")];
    CHECK(line.at("images") == 12);
    CHECK(line.at("accuracy").get<double>() == Approx(line.at("correct").get<double>() / 12));
    CHECK(line.at("microseconds_per_image").get<double>() > 0);
    const double capacity = line.at("capacity").is_null() ? 8. : line.at("capacity").get<double>();
    const double choices = 50. * line.at("selected").get<double>();  // of an image in each of the two blocks
    CHECK(line.at("expert_rows_per_image").get<double>() ==
          Approx(2 * choices * (1 - line.at("dropped").get<double>())));
    CHECK((line.at("dropped").get<double>() > 0) == (capacity < 8));
  }
  CHECK(studies == std::map<std::string, int>{{"capacity", 7}, {"random", 4}, {"selected", 3}});
  CHECK(lines.front().at("accuracy") == lines[10].at("accuracy"));
  CHECK(lines.back().at("random_blocks") == nlohmann::json{1, 3});
  const std::string charts = read_text(output / "adaptive.svg");
  CHECK(charts.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  std::size_t paths = 0;
  for (std::size_t at = charts.find("<path "); at != std::string::npos; at = charts.find("<path ", at + 1)) ++paths;
  CHECK(paths == 3 + 3 + 1);
}

TEST_CASE("adaptive_compute refuses what is no V-MoE with patches to choose for") {
  const TemporaryFolder folder;
  const std::string images = write_classes(folder);
  const auto refusal = [&](const std::string& weights, const std::string& selected) {
    const ProgramResult result =
        run_program(MOEVIT_ADAPTIVE_COMPUTE_PROGRAM,
                    {images, "-w", weights, "-o", (folder / "study").string(), "--split", "", "--selected", selected});
    CHECK(result.code == 1);
    return result.errors;
  };
  CHECK(refusal(fashion_mobile_vmoe(), "1").find("expected a V-MoE with top-k routers") != std::string::npos);
  CHECK(refusal(fashion_vmoe(), "9").find("expected k from 1 to the model's 8 experts, found 9") != std::string::npos);
}
