/// Groups of the nodes of a graph while their modularity is improved, node by node.
#pragma once

#include <moevit/train/class_graph.hpp>

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace moevit::detail {

/// A symmetric graph whose nodes stand for classes or for groups of them. The weight of a node with itself counts every
/// edge inside twice, once from each end, so that sums over rows stay the same when nodes are joined.
struct WeightedGraph {
  Index nodes = 0;
  std::vector<double> weights;  // nodes x nodes
  std::vector<double> degrees;  // sums of rows; in a part of a graph those of the whole
  std::vector<Index> sizes;     // how many classes each node stands for
  double total = 0;             // of all degrees; in a part of a graph that of the whole

  double weight(Index a, Index b) const { return weights[static_cast<std::size_t>(a * nodes + b)]; }
  double& weight(Index a, Index b) { return weights[static_cast<std::size_t>(a * nodes + b)]; }
  double degree(Index node) const { return degrees[static_cast<std::size_t>(node)]; }
  Index size(Index node) const { return sizes[static_cast<std::size_t>(node)]; }
};

inline WeightedGraph empty_graph(Index nodes, double total) {
  const auto count = static_cast<std::size_t>(nodes);
  return {nodes, std::vector<double>(count * count), std::vector<double>(count), std::vector<Index>(count), total};
}

inline WeightedGraph weighted_graph(const ClassGraph& classes) {
  WeightedGraph graph = empty_graph(classes.classes(), 0);
  graph.weights = classes.weights();
  std::fill(graph.sizes.begin(), graph.sizes.end(), 1);
  for (Index a = 0; a < graph.nodes; ++a)
    for (Index b = 0; b < graph.nodes; ++b) graph.degrees[static_cast<std::size_t>(a)] += graph.weight(a, b);
  graph.total = std::accumulate(graph.degrees.begin(), graph.degrees.end(), 0.0);
  return graph;
}

/// One node for each of `count` groups; `groups` has the group of each node.
inline WeightedGraph merged_graph(const WeightedGraph& graph, const std::vector<Index>& groups, Index count) {
  WeightedGraph merged = empty_graph(count, graph.total);
  for (Index a = 0; a < graph.nodes; ++a) {
    const Index group = groups[static_cast<std::size_t>(a)];
    merged.degrees[static_cast<std::size_t>(group)] += graph.degree(a);
    merged.sizes[static_cast<std::size_t>(group)] += graph.size(a);
    for (Index b = 0; b < graph.nodes; ++b)
      merged.weight(group, groups[static_cast<std::size_t>(b)]) += graph.weight(a, b);
  }
  return merged;
}

/// Only these nodes, with the degrees they have in the whole graph.
inline WeightedGraph part_of(const WeightedGraph& graph, const std::vector<Index>& nodes) {
  WeightedGraph part = empty_graph(std::ssize(nodes), graph.total);
  for (Index a = 0; a < part.nodes; ++a) {
    const Index node = nodes[static_cast<std::size_t>(a)];
    part.degrees[static_cast<std::size_t>(a)] = graph.degree(node);
    part.sizes[static_cast<std::size_t>(a)] = graph.size(node);
    for (Index b = 0; b < part.nodes; ++b) part.weight(a, b) = graph.weight(node, nodes[static_cast<std::size_t>(b)]);
  }
  return part;
}

/// Numbers groups 0, 1, ... by their first node and leaves out the ones without nodes. Returns how many there are.
inline Index renumber(std::vector<Index>& groups) {
  std::vector<Index> numbers(static_cast<std::size_t>(*std::max_element(groups.begin(), groups.end())) + 1, -1);
  Index count = 0;
  for (Index& group : groups) {
    Index& number = numbers[static_cast<std::size_t>(group)];
    if (number < 0) number = count++;
    group = number;
  }
  return count;
}

/// A group for every node, and what it takes to know quickly how the modularity changes when nodes move.
class Grouping {
 public:
  /// `count` groups, some of which may be empty, of at most `max_size` classes each. The graph must live on.
  Grouping(const WeightedGraph& graph, std::vector<Index> groups, Index count, Index max_size)
      : graph_(graph),
        groups_(std::move(groups)),
        count_(count),
        max_size_(max_size),
        links_(static_cast<std::size_t>(graph.nodes * count)),
        degrees_(static_cast<std::size_t>(count)),
        sizes_(static_cast<std::size_t>(count)),
        members_(static_cast<std::size_t>(count)) {
    for (Index node = 0; node < graph.nodes; ++node) {
      const auto own = static_cast<std::size_t>(group(node));
      degrees_[own] += graph.degree(node);
      sizes_[own] += graph.size(node);
      ++members_[own];
      for (Index other = 0; other < graph.nodes; ++other) link(node, group(other)) += graph.weight(node, other);
    }
  }

  Index nodes() const { return graph_.nodes; }
  Index count() const { return count_; }
  Index group(Index node) const { return groups_[static_cast<std::size_t>(node)]; }
  const std::vector<Index>& groups() const { return groups_; }
  Index size(Index group) const { return sizes_[static_cast<std::size_t>(group)]; }
  /// Whether the group of the node has no other nodes.
  bool is_alone(Index node) const { return members_[static_cast<std::size_t>(group(node))] == 1; }
  bool has_room(Index node, Index to) const { return size(to) + graph_.size(node) <= max_size_; }
  bool can_swap(Index a, Index b) const {
    const Index more = graph_.size(a) - graph_.size(b);
    return size(group(b)) + more <= max_size_ && size(group(a)) - more <= max_size_;
  }

  /// Change of the modularity when the node moves to another group.
  double move_gain(Index node, Index to) const {
    const Index from = group(node);
    const double degree = graph_.degree(node);
    return gain(link(node, to) - link(node, from) + graph_.weight(node, node),
                degree * (group_degree(to) - group_degree(from) + degree));
  }
  /// The same when two nodes of different groups change places.
  double swap_gain(Index a, Index b) const {
    const Index from = group(a), to = group(b);
    const double degree = graph_.degree(b);
    return move_gain(a, to) + gain(link(b, from) - link(b, to) - 2 * graph_.weight(a, b) + graph_.weight(b, b),
                                   degree * (group_degree(from) - group_degree(to) - 2 * graph_.degree(a) + degree));
  }
  void move(Index node, Index to) {
    const Index from = std::exchange(groups_[static_cast<std::size_t>(node)], to);
    for (Index other = 0; other < nodes(); ++other) {
      const double weight = graph_.weight(node, other);
      if (weight == 0) continue;
      link(other, from) -= weight;
      link(other, to) += weight;
    }
    count_in(node, from, -1);
    count_in(node, to, 1);
  }
  /// The part of the modularity that these groups have.
  double modularity() const {
    double inside = 0, squares = 0;
    for (Index node = 0; node < nodes(); ++node) inside += link(node, group(node));
    for (const double degree : degrees_) squares += degree / graph_.total * (degree / graph_.total);
    return inside / graph_.total - squares;
  }

 private:
  void count_in(Index node, Index group, int sign) {
    const auto i = static_cast<std::size_t>(group);
    degrees_[i] += sign * graph_.degree(node);
    sizes_[i] += sign * graph_.size(node);
    members_[i] += sign;
  }
  // Of the modularity: both parts of it appear once for each end of an edge.
  double gain(double inside, double products) const { return 2 * (inside - products / graph_.total) / graph_.total; }
  double link(Index node, Index group) const { return links_[static_cast<std::size_t>(node * count_ + group)]; }
  double& link(Index node, Index group) { return links_[static_cast<std::size_t>(node * count_ + group)]; }
  double group_degree(Index group) const { return degrees_[static_cast<std::size_t>(group)]; }

  const WeightedGraph& graph_;
  std::vector<Index> groups_;
  Index count_;
  Index max_size_;
  std::vector<double> links_;  // nodes x groups: weight between a node and all nodes of a group
  std::vector<double> degrees_;
  std::vector<Index> sizes_;  // in classes
  std::vector<Index> members_;
};

}  // namespace moevit::detail
