/// Changes the number of groups at the least loss of modularity: merges pairs, splits groups in two.
#pragma once

#include <moevit/train/louvain.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace moevit::detail {

/// Adds group b to a; b is left without weight, degree and classes.
inline void absorb(WeightedGraph& groups, Index a, Index b) {
  for (Index other = 0; other < groups.nodes; ++other) groups.weight(a, other) += groups.weight(b, other);
  for (Index other = 0; other < groups.nodes; ++other) groups.weight(other, a) += groups.weight(other, b);
  groups.degrees[static_cast<std::size_t>(a)] += std::exchange(groups.degrees[static_cast<std::size_t>(b)], 0);
  groups.sizes[static_cast<std::size_t>(a)] += std::exchange(groups.sizes[static_cast<std::size_t>(b)], 0);
}

/// The two groups among `alive` whose merging is best for the modularity, of equally good ones the smallest; (-1, -1)
/// when every two have more than max_size classes.
inline std::pair<Index, Index> best_merge(const WeightedGraph& groups, const std::vector<Index>& alive,
                                          Index max_size) {
  std::pair<Index, Index> best{-1, -1};
  double best_gain = 0;
  Index best_size = 0;
  for (std::size_t i = 0; i < alive.size(); ++i)
    for (std::size_t j = i + 1; j < alive.size(); ++j) {
      const Index a = alive[i], b = alive[j], size = groups.size(a) + groups.size(b);
      if (size > max_size) continue;
      const double gain = groups.weight(a, b) - groups.degree(a) * groups.degree(b) / groups.total;
      if (best.first >= 0 && (gain < best_gain || (gain == best_gain && size >= best_size))) continue;
      best = {a, b}, best_gain = gain, best_size = size;
    }
  return best;
}

/// Takes the smallest group apart: each of its classes goes where it fits best among those with room.
inline void dissolve_smallest(const WeightedGraph& graph, Level& level, Index max_size) {
  Grouping grouping(graph, level.groups, level.count, max_size);
  Index smallest = 0;
  for (Index group = 1; group < level.count; ++group)
    if (grouping.size(group) < grouping.size(smallest)) smallest = group;
  for (Index node = 0; node < graph.nodes; ++node) {
    if (grouping.group(node) != smallest) continue;
    const Move move = best_move(grouping, node, Emptying::allowed);
    if (move.to >= 0) grouping.move(node, move.to);
  }
  level.groups = grouping.groups();
  level.count = renumber(level.groups);
}

/// Merges groups, and takes small ones apart where no two fit together, until `count` are left. There must be room:
/// count * max_size >= classes.
inline void merge_to(const WeightedGraph& graph, Level& level, Index count, Index max_size) {
  WeightedGraph groups = merged_graph(graph, level.groups, level.count);
  std::vector<Index> alive = whole_numbers(level.count), names = alive;
  while (std::ssize(alive) > count) {
    const auto [a, b] = best_merge(groups, alive, max_size);
    if (a < 0) break;
    absorb(groups, a, b);
    std::replace(names.begin(), names.end(), b, a);
    alive.erase(std::find(alive.begin(), alive.end(), b));
  }
  for (Index& group : level.groups) group = names[static_cast<std::size_t>(group)];
  level.count = renumber(level.groups);
  while (level.count > count) dissolve_smallest(graph, level, max_size);
}

/// A group cut in two: the nodes that leave it, and what that does to the modularity.
struct Split {
  std::vector<Index> leaving;
  double gain = 0;
};

/// The best cut of at least two nodes that local search finds, from one node alone and from random halves.
inline Split best_split(const WeightedGraph& graph, const std::vector<Index>& nodes, RandomStream& random) {
  constexpr Index starts = 5;
  const WeightedGraph part = part_of(graph, nodes);
  const Index unlimited = part.nodes * graph.nodes;
  const double together = Grouping(part, std::vector<Index>(nodes.size(), 0), 1, unlimited).modularity();
  Split best;
  for (Index start = 0; start < starts; ++start) {
    std::vector<Index> sides(nodes.size(), 0);
    if (start > 0)
      for (Index& side : sides) side = random.below(2);
    // Both sides have a node in any case.
    sides[0] = 0;
    sides[1 + static_cast<std::size_t>(random.below(part.nodes - 1))] = 1;
    Grouping grouping(part, std::move(sides), 2, unlimited);
    improve(grouping, Emptying::forbidden);
    const double gain = grouping.modularity() - together;
    if (!best.leaving.empty() && gain <= best.gain + least_gain) continue;
    best = {{}, gain};
    for (Index node = 0; node < part.nodes; ++node)
      if (grouping.group(node) == 1) best.leaving.push_back(nodes[static_cast<std::size_t>(node)]);
  }
  return best;
}

/// Splits the group whose best cut is best for the modularity until there are `count`, at most one per class.
inline void split_to(const WeightedGraph& graph, Level& level, Index count, RandomStream& random) {
  const auto split_of = [&](Index group) {
    std::vector<Index> nodes;
    for (Index node = 0; node < graph.nodes; ++node)
      if (level.groups[static_cast<std::size_t>(node)] == group) nodes.push_back(node);
    return nodes.size() < 2 ? Split{} : best_split(graph, nodes, random);
  };
  std::vector<Split> splits;
  for (Index group = 0; group < level.count; ++group) splits.push_back(split_of(group));
  while (level.count < count) {
    std::size_t best = splits.size();
    for (std::size_t group = 0; group < splits.size(); ++group) {
      if (splits[group].leaving.empty()) continue;
      if (best == splits.size() || splits[group].gain > splits[best].gain) best = group;
    }
    for (const Index node : splits[best].leaving) level.groups[static_cast<std::size_t>(node)] = level.count;
    splits[best] = split_of(static_cast<Index>(best));
    splits.push_back(split_of(level.count++));
  }
}

}  // namespace moevit::detail
