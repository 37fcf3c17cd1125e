/// The super-classes of a Mobile V-MoE (Daxberger et al. 2023): groups of classes that a dense model confuses, one for
/// each expert.
///
/// Train the dense model, count its confusions on images held out, then
///   find_super_classes(class_graph(confusion, classes), experts).groups
/// has the label of the router for each class. The paper leaves open how exactly E groups come out of a clustering that
/// finds their number itself: here its groups are merged or split at the least loss of modularity, and then classes
/// move between the E groups until nothing helps.
#pragma once

#include <moevit/train/class_graph.hpp>
#include <moevit/train/group_count.hpp>

#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace moevit {

/// A group, 0 to count - 1, for each class. Groups are numbered by their first class and none is empty.
struct SuperClasses {
  std::vector<int> groups;
  Index count = 0;
  double modularity = 0;

  /// The classes of each group, rising.
  std::vector<std::vector<Index>> members() const {
    std::vector<std::vector<Index>> result(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < groups.size(); ++i)
      result[static_cast<std::size_t>(groups[i])].push_back(static_cast<Index>(i));
    return result;
  }
};

/// How super-classes are searched for. The result depends on these and the graph alone.
struct SuperClassOptions {
  std::uint64_t seed = 1;
  Index starts = 64;      ///< searches in different random orders, of which the best counts
  Index max_classes = 0;  ///< of a group, for balanced experts; 0: any number
};

namespace detail {

inline SuperClasses super_classes_of(const ClassGraph& graph, std::vector<Index> groups) {
  SuperClasses result;
  result.count = renumber(groups);
  for (const Index group : groups) result.groups.push_back(static_cast<int>(group));
  result.modularity = modularity(graph, result.groups);
  return result;
}

/// The limit of classes in a group. Throws Error when the options make no sense.
inline Index group_limit(const ClassGraph& graph, const SuperClassOptions& options) {
  if (options.starts < 1) fail("super-classes: expected at least 1 start, found ", options.starts);
  if (options.max_classes < 0)
    fail("super-classes: expected a limit of classes per group from 0 up, found ", options.max_classes);
  return options.max_classes ? options.max_classes : graph.classes();
}

inline void check_count(const ClassGraph& graph, Index count) {
  if (count < 1 || count > graph.classes()) {
    fail("super-classes: ", graph.classes(), " classes make 1 to ", graph.classes(), " groups, asked for ", count);
  }
}

/// `count` groups of nearly equal size in the order of `classes`.
inline std::vector<Index> even_groups(const std::vector<Index>& classes, Index count) {
  std::vector<Index> groups(classes.size());
  for (std::size_t i = 0; i < classes.size(); ++i)
    groups[static_cast<std::size_t>(classes[i])] = static_cast<Index>(i) * count / std::ssize(classes);
  return groups;
}

/// One search for exactly `count` groups. Every other one begins with the level of Louvain before the number falls
/// below `count`, so that it only merges.
inline std::vector<Index> search_groups(const WeightedGraph& graph, Index count, Index max_size, bool from_finer,
                                        RandomStream& random) {
  std::vector<Level> levels = louvain(graph, max_size, random);
  while (from_finer && levels.back().count < count) levels.pop_back();
  Level& level = levels.back();
  if (level.count > count) merge_to(graph, level, count, max_size);
  if (level.count < count) split_to(graph, level, count, random);
  Grouping grouping(graph, std::move(level.groups), count, max_size);
  improve(grouping, Emptying::forbidden);
  return grouping.groups();
}

/// One search for as many groups as are best.
inline std::vector<Index> search_groups(const WeightedGraph& graph, Index max_size, RandomStream& random) {
  Level level = louvain(graph, max_size, random).back();
  for (;;) {
    // A group without classes, so that a new one can begin.
    Grouping grouping(graph, level.groups, level.count + 1, max_size);
    improve(grouping, Emptying::allowed);
    std::vector<Index> groups = grouping.groups();
    const Index count = renumber(groups);
    if (groups == level.groups) return groups;
    level = {std::move(groups), count};
  }
}

/// The best result of search(start, random); of equally good ones the first.
template <class Search>
SuperClasses best_of(const ClassGraph& graph, const SuperClassOptions& options, Search search) {
  SuperClasses best;
  for (Index start = 0; start < options.starts; ++start) {
    RandomStream random(options.seed, start);
    SuperClasses found = super_classes_of(graph, search(start, random));
    if (start == 0 || found.modularity > best.modularity + least_gain) best = std::move(found);
  }
  return best;
}

}  // namespace detail

/// Exactly `count` super-classes of high modularity. Without any confusion all groups are equally good, and classes are
/// cut into groups of nearly equal size in their order.
/// Throws Error when there are fewer classes than groups, or more than the limit of the options gives room for.
inline SuperClasses find_super_classes(const ClassGraph& graph, Index count, const SuperClassOptions& options = {}) {
  detail::check_count(graph, count);
  const Index limit = detail::group_limit(graph, options);
  if (limit < ceil_div(graph.classes(), count)) {
    fail("super-classes: ", count, " groups of at most ", limit, " classes have no room for ", graph.classes());
  }
  const detail::WeightedGraph weights = detail::weighted_graph(graph);
  if (weights.total <= 0)
    return detail::super_classes_of(graph, detail::even_groups(detail::whole_numbers(graph.classes()), count));
  return detail::best_of(graph, options, [&](Index start, RandomStream& random) {
    return detail::search_groups(weights, count, limit, start % 2 == 1, random);
  });
}

/// As many super-classes as give the highest modularity. Classes that are never confused stay alone, so a graph without
/// edges gives as many groups as classes. Throws Error when the options make no sense.
inline SuperClasses natural_super_classes(const ClassGraph& graph, const SuperClassOptions& options = {}) {
  const Index limit = detail::group_limit(graph, options);
  const detail::WeightedGraph weights = detail::weighted_graph(graph);
  if (weights.total <= 0) return detail::super_classes_of(graph, detail::whole_numbers(graph.classes()));
  SuperClasses best = detail::best_of(
      graph, options, [&](Index, RandomStream& random) { return detail::search_groups(weights, limit, random); });
  // Searches for a given number go further where graphs are noisy: follow them while one group more or less is better.
  for (bool again = true; again;) {
    again = false;
    for (const Index count : {best.count - 1, best.count + 1}) {
      if (count < ceil_div(graph.classes(), limit) || count > graph.classes()) continue;
      SuperClasses found = find_super_classes(graph, count, options);
      if (found.modularity <= best.modularity + detail::least_gain) continue;
      best = std::move(found);
      again = true;
      break;
    }
  }
  return best;
}

/// `count` random groups of nearly equal size, to compare with. Throws Error when there are fewer classes.
inline SuperClasses random_super_classes(const ClassGraph& graph, Index count, std::uint64_t seed) {
  detail::check_count(graph, count);
  std::vector<Index> classes = detail::whole_numbers(graph.classes());
  RandomStream random(seed);
  shuffle(std::span(classes), random);
  return detail::super_classes_of(graph, detail::even_groups(classes, count));
}

/// Random groups of the same sizes as `like`, to compare with it. Throws Error when `like` is of another graph.
inline SuperClasses random_super_classes(const ClassGraph& graph, const SuperClasses& like, std::uint64_t seed) {
  detail::check_groups(like.groups, graph.classes());
  std::vector<Index> groups(like.groups.begin(), like.groups.end());
  RandomStream random(seed);
  shuffle(std::span(groups), random);
  return detail::super_classes_of(graph, std::move(groups));
}

}  // namespace moevit
