/// How a trained V-MoE does with less compute: accuracy and time against capacity, k, and random routers, as in
/// sections 4 and 5 of Riquelme et al. 2021.
#include "adaptive/measurer.hpp"
#include "adaptive/tables.hpp"
#include "common/open_model.hpp"
#include "common/program.hpp"

#include <moevit/io/atomic_file.hpp>
#include <moevit/io/dataset.hpp>
#include <moevit/train/shuffle.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace {

using examples::adaptive::Measurement;
using examples::adaptive::Setting;
using moevit::Index;

constexpr const char* description =
    "Measures accuracy and time of a trained V-MoE against the capacity ratio C of its experts, for three orders of\n"
    "service: by position (vanilla), by the largest gate and by the sum of gates (batch priority); against k; and "
    "with\n"
    "random routers in one sparse block after the other and in all. Images are routed in groups, in a random order of "
    "the\n"
    "data set, so that priority crosses images and classes. Into the output folder go adaptive.jsonl (a line per\n"
    "measurement), adaptive.txt (what is printed) and adaptive.svg.\n"
    "A model for it is trained, as the authors did but in small, by\n"
    "  train CIFAR10 -o RUN --model vmoe4 --images 32x32x3 --noise 1 --capacity 1.05 --flip 0.5 --crop-padding 4\n"
    "and RUN/best.safetensors is then measured on the images that train held out, or on others with --validation 0.";

struct Flags {
  std::string data, weights, output;
  std::string split = "train";
  double validation = 0.1;
  Index limit = 0;
  std::vector<double> capacities{1.05, 1, 0.75, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05};
  std::vector<Index> selected{1, 2, 3, 4};
  std::uint64_t seed = 1;
  examples::adaptive::MeasurerOptions measurer;

  void add_to(CLI::App& app) {
    app.add_option("data", data, "Data set with labels: IDX, CIFAR binary, or one folder per class")->required();
    app.add_option("--weights,-w", weights, "Weights (safetensors) of one of the compiled V-MoEs")->required();
    app.add_option("--output,-o", output, "Folder to write to")->required();
    app.add_option("--split", split, "Part of the data set; empty: it has none")->capture_default_str();
    app.add_option("--validation", validation, "Only the last share of each class, as train holds it out; 0: all")
        ->capture_default_str()
        ->check(CLI::Range(0., 0.9));
    app.add_option("--limit", limit, "Only so many images; 0: all")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--capacities", capacities, "Capacity ratios, with commas")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--selected", selected, "Values of k, with commas")
        ->delimiter(',')
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--group", measurer.group, "Images that are routed together")
        ->capture_default_str()
        ->check(CLI::Range(1, 1 << 16));
    app.add_option("--timed-groups", measurer.timed_groups, "Groups that are timed, from the first on")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--repeats", measurer.repeats, "Passes over a timed group, the fastest of which counts")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--threads", measurer.threads, "Threads")->capture_default_str()->check(CLI::Range(1, 1024));
    app.add_option("--seed", seed, "Of the order of the images")->capture_default_str();
  }
};

/// The images in a random order, which no class and no place in the data set stands out in.
std::vector<Index> choose_images(const moevit::Dataset& dataset, const Flags& flags) {
  const moevit::DataSplit split = moevit::validation_split(dataset, flags.validation);
  const std::vector<Index>& numbers = flags.validation > 0 ? split.validation : split.training;
  if (numbers.empty()) moevit::fail(flags.data, ": no images are held out of it (--validation 0: all of them)");
  std::vector<Index> chosen;
  for (const Index place : moevit::epoch_order(std::ssize(numbers), flags.seed, 0))
    chosen.push_back(numbers[static_cast<std::size_t>(place)]);
  if (flags.limit > 0) chosen.resize(std::min(chosen.size(), static_cast<std::size_t>(flags.limit)));
  return chosen;
}

std::vector<Index> sparse_blocks(const moevit::ModelDescription& model) {
  std::vector<Index> blocks;
  for (Index block = 0; block < model.vit.depth; ++block)
    if (model.moe.placement.contains(block, model.vit.depth)) blocks.push_back(block);
  return blocks;
}

std::vector<Setting> settings_of(const moevit::ModelDescription& model, const Flags& flags) {
  using moevit::Priority;
  const Index own = model.moe.selected;
  std::vector<Setting> settings{{.study = "capacity", .selected = own}};
  for (const double capacity : flags.capacities)
    for (const Priority priority : {Priority::position, Priority::max_gate, Priority::sum_of_gates})
      settings.push_back({.study = "capacity", .capacity = capacity, .priority = priority, .selected = own});
  for (const Index selected : flags.selected) settings.push_back({.study = "selected", .selected = selected});
  const std::vector<Index> blocks = sparse_blocks(model);
  settings.push_back({.study = "random", .selected = own});
  for (const Index block : blocks) settings.push_back({.study = "random", .selected = own, .random = {block}});
  settings.push_back({.study = "random", .selected = own, .random = blocks});
  return settings;
}

void check_model(const moevit::ModelDescription& model, const Flags& flags) {
  if (model.family != moevit::ModelFamily::vmoe || model.moe.router != moevit::RouterKind::top_k ||
      model.moe.members > 1)
    moevit::fail(flags.weights, ": expected a V-MoE with top-k routers, which choose for every patch");
  for (const Index selected : flags.selected)
    if (selected > model.moe.experts)
      moevit::fail("--selected: expected k from 1 to the model's ", model.moe.experts, " experts, found ", selected);
}

int study(Flags flags) {
  const auto model = examples::open_model(flags.weights);
  const moevit::ModelDescription about = model->description();
  check_model(about, flags);
  flags.measurer.most_selected = about.moe.selected;
  for (const Index selected : flags.selected)
    flags.measurer.most_selected = std::max(flags.measurer.most_selected, selected);
  const auto dataset = moevit::open_dataset(flags.data, {.split = flags.split, .limits = {}});
  const std::vector<Index> numbers = choose_images(*dataset, flags);
  examples::adaptive::Measurer measurer(*model, *dataset, numbers, flags.measurer);
  std::vector<Measurement> measurements;
  for (const Setting& setting : settings_of(about, flags)) {
    measurements.push_back(measurer.measure(setting));
    std::fprintf(stderr, "%s: %.2f %%\n", examples::adaptive::label_of(setting).c_str(),
                 100 * measurements.back().accuracy());
  }
  measurer.measure_times(measurements);
  std::string lines;
  for (const Measurement& measurement : measurements) lines += examples::adaptive::to_json(measurement);
  const std::string table = std::to_string(numbers.size()) + " images in groups of " +
                            std::to_string(flags.measurer.group) + ", " + std::to_string(flags.measurer.threads) +
                            " threads\n" + examples::adaptive::to_table(measurements) + moevit::build_info() + "\n";
  const std::filesystem::path folder = flags.output;
  std::filesystem::create_directories(folder);
  moevit::write_file(folder / "adaptive.jsonl", lines);
  moevit::write_file(folder / "adaptive.txt", table);
  moevit::write_file(folder / "adaptive.svg", examples::adaptive::to_charts(measurements));
  std::cout << table;
  return examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "adaptive_compute");
  Flags flags;
  flags.add_to(app);
  return examples::run_program(app, argc, argv, [&] { return study(flags); });
}
