/// Combines what adaptive_compute measured on several models, such as those of several seeds.
#include "adaptive/summary.hpp"
#include "common/program.hpp"

#include <moevit/io/atomic_file.hpp>

#include <iostream>
#include <string>
#include <vector>

namespace {

constexpr const char* description =
    "Combines the adaptive.jsonl that adaptive_compute wrote for several models: means over the models with 90 % "
    "confidence\n"
    "intervals, what batch priority gains within each, and charts of the means.";

struct Flags {
  std::vector<std::string> files;
  std::string charts;
};

int summarise(const Flags& flags) {
  std::vector<examples::adaptive::Run> runs;
  for (const std::string& file : flags.files) runs.push_back(examples::adaptive::read_run(file));
  examples::adaptive::check_runs(runs);
  std::cout << runs.size() << " models, " << runs.front().front().images << " images each, in percent\n\n"
            << examples::adaptive::capacity_table(runs) << '\n'
            << examples::adaptive::other_table(runs);
  if (!flags.charts.empty())
    moevit::write_file(flags.charts, examples::adaptive::to_charts(examples::adaptive::pooled(runs)));
  return examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "adaptive_summary");
  Flags flags;
  app.add_option("files", flags.files, "adaptive.jsonl of each model")->required();
  app.add_option("--charts", flags.charts, "SVG file to write");
  return examples::run_program(app, argc, argv, [&] { return summarise(flags); });
}
