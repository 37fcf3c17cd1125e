/// Super-classes from confusion counts, against the partitions and modularities of networkx.
#include <moevit/train/super_classes.hpp>

#include "golden/case_outputs.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

std::vector<int> partition(const GoldenCase& golden, const std::string& name) {
  const std::vector<std::int32_t> groups = golden.integers("outputs/" + name);
  return {groups.begin(), groups.end()};
}

/// Planted groups that are the best ones must be found, and groups of given number must lose little.
void compare_searches(const GoldenCase& golden, const ClassGraph& graph) {
  const double best = golden.config.at("modularity_louvain_best_of_30");
  const Index louvain_count = golden.config.at("clusters_louvain"),
              planted_count = golden.config.at("planted_clusters");
  const SuperClasses natural = natural_super_classes(graph);
  const SuperClasses as_louvain = find_super_classes(graph, louvain_count);
  const SuperClasses as_planted = find_super_classes(graph, planted_count);
  std::cout << "golden " << golden.name << ": modularity " << natural.modularity / best << " of Louvain's best with "
            << natural.count << " groups, " << as_louvain.modularity / best << " with " << as_louvain.count << ", "
            << as_planted.modularity / best << " with " << as_planted.count << "\n";
  CHECK(natural.modularity >= 0.98 * best);
  CHECK(natural.modularity >= golden.config.at("modularity_louvain_worst_of_30").get<double>());
  CHECK(as_louvain.count == louvain_count);
  CHECK(as_louvain.modularity >= 0.98 * best);
  CHECK(as_planted.count == planted_count);
  const double planted = golden.config.at("modularity_planted");
  CHECK(as_planted.modularity >= planted - 1e-12);
  if (golden.config.at("ari_louvain_planted") == 1.0) {
    // Both number groups by their first class only after this.
    const SuperClasses wanted = detail::super_classes_of(graph, [&] {
      const std::vector<int> groups = partition(golden, "planted");
      return std::vector<Index>(groups.begin(), groups.end());
    }());
    CHECK(as_planted.groups == wanted.groups);
    CHECK(natural.groups == wanted.groups);
  }
}

void run_clustering(const GoldenCase& golden) {
  const Index classes = golden.config.at("num_classes");
  const std::vector<std::int32_t> counts = golden.integers("inputs/confusion");
  const ClassGraph graph = class_graph(std::vector<Index>(counts.begin(), counts.end()), classes);
  CaseOutputs outputs(golden);
  outputs.close("adjacency", std::vector<float>(graph.weights().begin(), graph.weights().end()));
  std::vector<float> reached;
  for (const char* name : {"planted", "louvain", "greedy"}) {
    outputs.take(name);
    reached.push_back(static_cast<float>(modularity(graph, partition(golden, name))));
  }
  outputs.close("modularity", reached);
  outputs.finish();
  CHECK(modularity(graph, partition(golden, "planted")) ==
        Approx(golden.config.at("modularity_planted").get<double>()).epsilon(1e-12));
  compare_searches(golden, graph);
}

}  // namespace

TEST_CASE("golden: super_class_clustering") { run_kind("super_class_clustering", run_clustering); }
