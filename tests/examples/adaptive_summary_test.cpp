// adaptive_summary: means and gains over several models, and what it refuses.
#include "examples/run_program.hpp"

using namespace moevit::test;

namespace {

std::string line(const char* priority, int correct, const char* capacity = "0.3") {
  return std::string("{\"study\":\"capacity\",\"capacity\":") + capacity + ",\"priority\":\"" + priority +
         "\",\"selected\":2,\"random_blocks\":[],\"images\":100,\"correct\":" + std::to_string(correct) +
         ",\"accuracy\":0,\"microseconds_per_image\":5,\"expert_rows_per_image\":3,\"dropped\":0.5}\n";
}

std::string write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
  return path.string();
}

}  // namespace

TEST_CASE("adaptive_summary gives means over models and gains within each") {
  const TemporaryFolder folder;
  const std::string first = write(
      folder / "1.jsonl", line("position", 90, "null") + line("position", 50) + line("max-gate", 53) + line("sum", 50));
  const std::string second = write(
      folder / "2.jsonl", line("position", 92, "null") + line("position", 60) + line("max-gate", 65) + line("sum", 60));
  const std::string charts = (folder / "charts.svg").string();
  const ProgramResult result = run_program(MOEVIT_ADAPTIVE_SUMMARY_PROGRAM, {first, second, "--charts", charts});
  INFO(result.errors);
  REQUIRE(result.code == 0);
  // t(1) = 6.3138: half a width of 6.3138 times half the distance of the two.
  CHECK(result.output.find("| 0.30 | 55.00 ± 31.57 | 59.00 ± 37.88 | 55.00 ± 31.57 | 4.00 ± 6.31 | 0.00 ± 0.00 |") !=
        std::string::npos);
  CHECK(result.output.find("| unlimited | 91.00 ± 6.31 |") != std::string::npos);
  CHECK(read_text(charts).find("<svg") != std::string::npos);
}

TEST_CASE("adaptive_summary refuses files that do not fit together or are something else") {
  const TemporaryFolder folder;
  const std::string first = write(folder / "1.jsonl", line("position", 50));
  const std::string other = write(folder / "2.jsonl", line("position", 50, "0.2"));
  const std::string broken = write(folder / "3.jsonl", line("position", 50) + "{\"study\":1}\n");
  const ProgramResult differs = run_program(MOEVIT_ADAPTIVE_SUMMARY_PROGRAM, {first, other});
  CHECK(differs.code == 1);
  CHECK(differs.errors.find("run 1, measurement 0: expected 'C = 0.30, position'") != std::string::npos);
  const ProgramResult damaged = run_program(MOEVIT_ADAPTIVE_SUMMARY_PROGRAM, {broken});
  CHECK(damaged.code == 1);
  CHECK(damaged.errors.find("3.jsonl: line 2: expected a line of adaptive.jsonl") != std::string::npos);
}
