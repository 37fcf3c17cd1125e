/// The ablation tables of Mobile V-MoE: experts, layers, k, routing, lambda, over several seeds.
#include "common/program.hpp"
#include "mobile/flags.hpp"
#include "mobile/table.hpp"

#include <moevit/train/progress_bar.hpp>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace examples::mobile;

constexpr const char* description =
    "Trains the arms of one table of the Mobile V-MoE paper (Daxberger et al. 2023) over several seeds and prints the "
    "table:\n"
    "means with 90 % confidence intervals, and differences to the dense model within each seed. What is in "
    "results.jsonl of\n"
    "the output folder already is not trained again, and a run that was interrupted goes on.";

enum class Table { main, routing, experts, layers, selected, lambda };

std::vector<Index> expert_counts(Images images) {
  return images == Images::tiny_imagenet ? std::vector<Index>{2, 5, 10, 20} : std::vector<Index>{2, 3, 5, 10};
}

/// The arms of a table besides the dense model.
std::vector<ArmSpec> arms_of(Table table, Images images, const Shape& shape) {
  std::vector<ArmSpec> arms;
  const auto add = [&](Arm arm, Index experts, Index selected, Index layers, double lambda = 0.3) {
    arms.push_back({.shape = {arm, experts, selected, layers}, .lambda = lambda});
  };
  const auto [arm, experts, selected, layers] = shape;
  switch (table) {
    case Table::main:
      for (const Arm other : {Arm::super_class, Arm::random, Arm::oracle}) add(other, experts, selected, layers);
      break;
    case Table::routing:
      for (const Arm other : {Arm::super_class, Arm::end_to_end, Arm::random, Arm::per_token, Arm::oracle})
        add(other, experts, selected, layers);
      break;
    case Table::experts:
      for (const Index count : expert_counts(images)) add(Arm::super_class, count, selected, layers);
      break;
    case Table::layers:
      for (const Index count : {1, 2, 3}) add(Arm::super_class, experts, selected, count);
      break;
    case Table::selected:
      for (const Index count : {1, 2}) add(Arm::super_class, experts, count, layers);
      break;
    case Table::lambda:
      for (const double weight : {0., 0.1, 0.3, 1.}) add(Arm::super_class, experts, selected, layers, weight);
      break;
  }
  return arms;
}

struct Flags {
  StudyFlags study;
  Table table = Table::routing;
  Shape shape;
  std::vector<std::uint64_t> seeds{1, 2, 3, 4, 5, 6, 7, 8};
  bool is_upcycled = false;
  bool only_prints = false;

  void add_to(CLI::App& app) {
    study.add_to(app);
    const std::map<std::string, Table> tables{{"main", Table::main},         {"routing", Table::routing},
                                              {"experts", Table::experts},   {"layers", Table::layers},
                                              {"selected", Table::selected}, {"lambda", Table::lambda}};
    app.add_option(
           "--table", table,
           "routing: where the expert comes from; main: of these super-class, random and oracle only; experts: 2 to "
           "10, of Tiny ImageNet to 20; layers: 1, 2, 3; selected: k of 1 and 2; lambda: 0, 0.1, 0.3, 1 (experts, "
           "layers and selected need a build with -DMOEVIT_ABLATION_MODELS=ON)")
        ->transform(CLI::CheckedTransformer(tables))
        ->default_str("routing");
    StudyFlags::add_shape(app, shape);  // of what the table does not vary
    app.add_option("--seeds", seeds, "Seeds, with commas")->delimiter(',')->default_str("1 to 8");
    app.add_flag("--upcycled", is_upcycled, "All arms begin with the dense model's weights");
    app.add_flag("--print", only_prints, "Trains nothing, prints the table of what is there");
  }
};

int ablate(const Flags& flags) {
  Study study(flags.study.options());
  std::vector<ArmSpec> arms{{.shape = {.arm = Arm::dense}}};
  const Shape shape = flags.study.with_usual_experts(flags.shape);
  for (const ArmSpec& spec : arms_of(flags.table, flags.study.study.images, shape)) arms.push_back(spec);
  std::vector<std::string> labels;
  for (ArmSpec& spec : arms) {
    spec.is_upcycled = flags.is_upcycled;
    labels.push_back(spec.label());
  }
  moevit::ProgressBar bar;
  for (const std::uint64_t seed : flags.only_prints ? std::vector<std::uint64_t>() : flags.seeds)
    for (ArmSpec spec : arms) {
      spec.seed = seed;
      const Record record = study.run(spec, bar);
      std::printf("seed %llu, %s: validation %.2f %%, router %.2f %%\n", static_cast<unsigned long long>(seed),
                  record.label.c_str(), 100 * record.validation_accuracy, 100 * record.router_accuracy);
      std::fflush(stdout);
    }
  std::printf("\n%s", to_table(study.records(), labels).c_str());
  return examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(description, "ablate");
  Flags flags;
  flags.add_to(app);
  return examples::run_program(app, argc, argv, [&] { return ablate(flags); });
}
