/// Communities of a graph by the method of Louvain (Blondel et al. 2008).
#pragma once

#include <moevit/train/random.hpp>
#include <moevit/train/refine_groups.hpp>

#include <span>
#include <utility>
#include <vector>

namespace moevit::detail {

/// The group of each class, and how many groups there are.
struct Level {
  std::vector<Index> groups;
  Index count = 0;
};

/// Every class alone, then ever coarser levels, each of higher modularity: nodes move, in random order, to the
/// neighbouring group that gains most; the groups become the nodes of the next level. `max_size`: classes per group.
inline std::vector<Level> louvain(const WeightedGraph& graph, Index max_size, RandomStream& random) {
  std::vector<Level> levels{{whole_numbers(graph.nodes), graph.nodes}};
  for (WeightedGraph current = graph;;) {
    Grouping grouping(current, whole_numbers(current.nodes), current.nodes, max_size);
    std::vector<Index> order = whole_numbers(current.nodes);
    shuffle(std::span(order), random);
    if (!improve_by_moves(grouping, order, Emptying::allowed)) return levels;
    std::vector<Index> groups = grouping.groups();
    const Index count = renumber(groups);
    Level next{levels.back().groups, count};
    for (Index& group : next.groups) group = groups[static_cast<std::size_t>(group)];
    levels.push_back(std::move(next));
    current = merged_graph(current, groups, count);
  }
}

}  // namespace moevit::detail
