// Super-classes: every partition of small graphs, planted groups, limits, graphs without edges, bad input.
#include <moevit/io/report/super_class_chart.hpp>
#include <moevit/train/super_classes.hpp>

#include "catch.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

using namespace moevit;

namespace {

using Catch::Contains;

/// Symmetric whole weights below `most`, of which about `share` are not 0.
ClassGraph random_graph(Index classes, double share, Index most, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<double> weights(static_cast<std::size_t>(classes * classes));
  for (Index a = 0; a < classes; ++a)
    for (Index b = 0; b < a; ++b) {
      const double weight = random.coin(share) ? static_cast<double>(random.below(most)) : 0;
      weights[static_cast<std::size_t>(a * classes + b)] = weights[static_cast<std::size_t>(b * classes + a)] = weight;
    }
  return {std::move(weights), classes};
}

/// Classes a and b are in one group when a % groups == b % groups; few edges lead out of them.
ClassGraph planted_graph(Index classes, Index groups, std::uint64_t seed) {
  RandomStream random(seed);
  std::vector<Index> confusion(static_cast<std::size_t>(classes * classes));
  for (Index a = 0; a < classes; ++a)
    for (Index b = 0; b < classes; ++b)
      confusion[static_cast<std::size_t>(a * classes + b)] =
          a == b ? 100 : (a % groups == b % groups ? 5 + random.below(10) : random.below(2));
  return class_graph(confusion, classes);
}

/// Calls f(groups, count) for every partition, groups numbered by their first class.
template <class F>
void for_each_partition(std::vector<int>& groups, std::size_t next, int count, F& f) {
  if (next == groups.size()) return f(groups, count);
  for (int group = 0; group <= count; ++group) {
    groups[next] = group;
    for_each_partition(groups, next + 1, std::max(count, group + 1), f);
  }
}

/// The highest modularity for each number of groups with at most `limit` classes.
std::map<Index, double> best_modularities(const ClassGraph& graph, Index limit) {
  std::map<Index, double> best;
  std::vector<int> first(static_cast<std::size_t>(graph.classes()));
  const auto visit = [&](const std::vector<int>& groups, int count) {
    for (int group = 0; group < count; ++group)
      if (std::count(groups.begin(), groups.end(), group) > limit) return;
    const double value = modularity(graph, groups);
    const auto [entry, is_new] = best.try_emplace(count, value);
    if (!is_new) entry->second = std::max(entry->second, value);
  };
  for_each_partition(first, 0, 0, visit);
  return best;
}

double adjusted_rand_index(const std::vector<int>& a, const std::vector<int>& b) {
  std::map<std::pair<int, int>, double> both;
  std::map<int, double> in_a, in_b;
  for (std::size_t i = 0; i < a.size(); ++i) ++both[{a[i], b[i]}], ++in_a[a[i]], ++in_b[b[i]];
  const auto pairs = [](const auto& counts) {
    double sum = 0;
    for (const auto& [key, count] : counts) sum += count * (count - 1) / 2;
    return sum;
  };
  const auto n = static_cast<double>(a.size());
  const double expected = pairs(in_a) * pairs(in_b) / (n * (n - 1) / 2), most = (pairs(in_a) + pairs(in_b)) / 2;
  return most == expected ? 1 : (pairs(both) - expected) / (most - expected);
}

void check_consistent(const ClassGraph& graph, const SuperClasses& found, Index count) {
  CHECK(found.count == count);
  CHECK(found.modularity == modularity(graph, found.groups));
  int next = 0;
  for (const int group : found.groups) {
    CHECK(group <= next);
    next = std::max(next, group + 1);
  }
  CHECK(next == count);
}

}  // namespace

TEST_CASE("a confusion matrix becomes a symmetric graph without loops") {
  const ClassGraph graph = class_graph(std::vector<Index>{9, 2, 0, 1, 8, 5, 3, 0, 7}, 3);
  CHECK(graph.weights() == std::vector<double>{0, 3, 3, 3, 0, 5, 3, 5, 0});
  CHECK(class_graph(std::vector<double>{9, 2, 0, 1, 8, 5, 3, 0, 7}, 3).weights() == graph.weights());
}

TEST_CASE("modularity of a graph worked out by hand") {
  // Edges 0-1 and 2-3 of weight 3, 1-2 of weight 1: total 14; groups {0, 1} and {2, 3} have 6 inside and degree 7.
  const ClassGraph graph({0, 3, 0, 0, 3, 0, 1, 0, 0, 1, 0, 3, 0, 0, 3, 0}, 4);
  CHECK(modularity(graph, std::vector<int>{0, 0, 1, 1}) == Approx(2 * (6. / 14 - 0.25)));
  CHECK(modularity(graph, std::vector<int>{0, 0, 0, 0}) == Approx(0).margin(1e-15));
  CHECK(modularity(graph, std::vector<int>{3, 3, 1, 1}) == Approx(2 * (6. / 14 - 0.25)));
  // Alone: nothing inside, degrees 3, 4, 4, 3.
  CHECK(modularity(graph, std::vector<int>{0, 1, 2, 3}) == Approx(-(9 + 16 + 16 + 9) / 196.));
}

TEST_CASE("gains of moves and swaps are differences of the modularity") {
  const ClassGraph graph = random_graph(7, 0.7, 9, 3);
  const detail::WeightedGraph weights = detail::weighted_graph(graph);
  const std::vector<Index> groups{0, 1, 2, 0, 1, 2, 0};
  const auto value = [&](const std::vector<Index>& of) {
    return modularity(graph, std::vector<int>(of.begin(), of.end()));
  };
  for (Index node = 0; node < 7; ++node) {
    for (Index to = 0; to < 3; ++to) {
      detail::Grouping grouping(weights, groups, 3, 7);
      if (to == grouping.group(node)) continue;
      const double gain = grouping.move_gain(node, to);
      grouping.move(node, to);
      CHECK(value(grouping.groups()) - value(groups) == Approx(gain).margin(1e-14));
      CHECK(grouping.modularity() == Approx(value(grouping.groups())).margin(1e-14));
    }
    for (Index other = 0; other < node; ++other) {
      std::vector<Index> swapped = groups;
      std::swap(swapped[static_cast<std::size_t>(node)], swapped[static_cast<std::size_t>(other)]);
      const detail::Grouping grouping(weights, groups, 3, 7);
      if (grouping.group(node) == grouping.group(other)) continue;
      CHECK(grouping.swap_gain(node, other) == Approx(value(swapped) - value(groups)).margin(1e-14));
    }
  }
}

TEST_CASE("super-classes of small graphs are the best of all partitions") {
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    const Index classes = 2 + static_cast<Index>(seed % 7);
    const ClassGraph graph = random_graph(classes, 0.3 + 0.1 * static_cast<double>(seed % 8), 8, seed);
    double highest = -1;
    for (const auto& [count, best] : best_modularities(graph, classes)) {
      INFO("seed " << seed << ", " << classes << " classes, " << count << " groups");
      const SuperClasses found = find_super_classes(graph, count);
      check_consistent(graph, found, count);
      CHECK(found.modularity == Approx(best).margin(1e-12));
      highest = std::max(highest, best);
    }
    INFO("seed " << seed << ", " << classes << " classes");
    CHECK(natural_super_classes(graph).modularity == Approx(highest).margin(1e-12));
  }
}

TEST_CASE("super-classes of limited size are the best of all such partitions") {
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const ClassGraph graph = random_graph(7, 0.6, 8, 100 + seed);
    for (const Index limit : {2, 3, 4})
      for (const auto& [count, best] : best_modularities(graph, limit)) {
        INFO("seed " << seed << ", limit " << limit << ", " << count << " groups");
        const SuperClasses found = find_super_classes(graph, count, {.max_classes = limit});
        check_consistent(graph, found, count);
        for (const auto& members : found.members()) CHECK(std::ssize(members) <= limit);
        CHECK(found.modularity == Approx(best).margin(1e-12));
      }
  }
}

TEST_CASE("planted groups are found, with their number and without") {
  const ClassGraph graph = planted_graph(60, 6, 4);
  std::vector<int> planted;
  for (int i = 0; i < 60; ++i) planted.push_back(i % 6);
  CHECK(natural_super_classes(graph).groups == planted);
  CHECK(find_super_classes(graph, 6).groups == planted);
  CHECK(adjusted_rand_index(find_super_classes(graph, 6).groups, planted) == 1);
  CHECK(adjusted_rand_index(random_super_classes(graph, 6, 1).groups, planted) < 0.2);
  for (const Index count : {2, 3, 5, 7, 12}) {
    const SuperClasses found = find_super_classes(graph, count);
    check_consistent(graph, found, count);
    CHECK(found.modularity > random_super_classes(graph, found, 3).modularity);
    CHECK(found.modularity < find_super_classes(graph, 6).modularity);
  }
}

TEST_CASE("the same seed gives the same super-classes") {
  const ClassGraph graph = random_graph(50, 0.3, 5, 9);
  for (const std::uint64_t seed : {1u, 2u}) {
    const SuperClassOptions options{.seed = seed, .starts = 3};
    CHECK(find_super_classes(graph, 7, options).groups == find_super_classes(graph, 7, options).groups);
    CHECK(natural_super_classes(graph, options).groups == natural_super_classes(graph, options).groups);
  }
  CHECK(random_super_classes(graph, 7, 1).groups == random_super_classes(graph, 7, 1).groups);
  CHECK(random_super_classes(graph, 7, 1).groups != random_super_classes(graph, 7, 2).groups);
}

TEST_CASE("one group, as many groups as classes, classes that nothing is taken for") {
  const ClassGraph graph = random_graph(6, 0.5, 5, 2);
  CHECK(find_super_classes(graph, 1).groups == std::vector<int>(6, 0));
  CHECK(find_super_classes(graph, 1).modularity == Approx(0).margin(1e-12));
  CHECK(find_super_classes(graph, 6).groups == std::vector<int>{0, 1, 2, 3, 4, 5});
  CHECK(find_super_classes(ClassGraph({0}, 1), 1).groups == std::vector<int>{0});

  // Classes 1 and 3 have no edge.
  std::vector<double> weights(36);
  weights[0 * 6 + 2] = weights[2 * 6 + 0] = weights[4 * 6 + 5] = weights[5 * 6 + 4] = 3;
  const ClassGraph apart(weights, 6);
  CHECK(natural_super_classes(apart).groups == std::vector<int>{0, 1, 0, 2, 3, 3});
  const SuperClasses two = find_super_classes(apart, 2);
  CHECK(two.modularity == Approx(0.5));
  check_consistent(apart, two, 2);
}

TEST_CASE("without confusions classes are grouped in their order") {
  const ClassGraph graph(std::vector<double>(25), 5);
  CHECK(find_super_classes(graph, 2).groups == std::vector<int>{0, 0, 0, 1, 1});
  CHECK(find_super_classes(graph, 2).modularity == 0);
  CHECK(natural_super_classes(graph).groups == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("random super-classes have nearly equal sizes, or those of others") {
  const ClassGraph graph = random_graph(11, 0.5, 5, 1);
  const SuperClasses even = random_super_classes(graph, 4, 5);
  check_consistent(graph, even, 4);
  for (const auto& members : even.members()) CHECK((members.size() == 2 || members.size() == 3));
  const SuperClasses found = find_super_classes(graph, 3);
  const auto sizes = [](const SuperClasses& of) {
    std::vector<std::size_t> result;
    for (const auto& members : of.members()) result.push_back(members.size());
    std::sort(result.begin(), result.end());
    return result;
  };
  CHECK(sizes(random_super_classes(graph, found, 5)) == sizes(found));
}

TEST_CASE("bad confusion matrices, groups and options are errors") {
  CHECK_THROWS_WITH(class_graph(std::vector<Index>{1, 2, 3}, 2), Contains("expected 2 x 2 = 4 counts, found 3"));
  CHECK_THROWS_WITH(class_graph(std::vector<Index>{1, -2, 3, 4}, 2), Contains("count -2 of class 0 taken for 1"));
  CHECK_THROWS_AS(class_graph(std::vector<Index>{-1, 2, 3, 4}, 2), Error);
  CHECK_THROWS_AS(class_graph(std::vector<double>{1, NAN, 3, 4}, 2), Error);
  CHECK_THROWS_AS(class_graph(std::vector<double>{}, 0), Error);
  CHECK_THROWS_WITH(ClassGraph({0, 1, 2, 0}, 2), Contains("not symmetric"));
  CHECK_THROWS_WITH(ClassGraph({1, 1, 1, 0}, 2), Contains("with itself"));
  CHECK_THROWS_AS(ClassGraph({0, 1, 1}, 2), Error);
  CHECK_THROWS_AS(ClassGraph({0, -1, -1, 0}, 2), Error);
  const ClassGraph graph({0, 1, 1, 0}, 2);
  CHECK_THROWS_WITH(find_super_classes(graph, 3), Contains("2 classes make 1 to 2 groups, asked for 3"));
  CHECK_THROWS_AS(find_super_classes(graph, 0), Error);
  CHECK_THROWS_AS(random_super_classes(graph, 3, 1), Error);
  CHECK_THROWS_WITH(find_super_classes(graph, 1, {.max_classes = 1}), Contains("no room for 2"));
  CHECK_THROWS_AS(find_super_classes(graph, 1, {.starts = 0}), Error);
  CHECK_THROWS_AS(natural_super_classes(graph, {.max_classes = -1}), Error);
  CHECK_THROWS_AS(modularity(graph, std::vector<int>{0}), Error);
  CHECK_THROWS_AS(modularity(graph, std::vector<int>{0, 2}), Error);
}

TEST_CASE("the picture of super-classes names every class and escapes names") {
  const ClassGraph graph = planted_graph(12, 3, 1);
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i) names.push_back("<class " + std::to_string(i) + ">");
  const std::string chart = report::super_class_chart(graph, find_super_classes(graph, 3), names);
  CHECK_THAT(chart, Catch::StartsWith("<svg"));
  CHECK_THAT(chart, Contains("&lt;class 11&gt;") && !Contains("<class"));
  CHECK_THAT(report::super_class_chart(graph, find_super_classes(graph, 3), {}), Contains("class 11"));
  CHECK_THROWS_AS(report::super_class_chart(graph, find_super_classes(graph, 3), {"one"}), Error);
  CHECK_NOTHROW(report::super_class_chart(ClassGraph({0}, 1), find_super_classes(ClassGraph({0}, 1), 1), {}));
}
