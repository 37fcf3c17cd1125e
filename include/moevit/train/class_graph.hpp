/// Which classes a model takes for each other, as a graph, and how well groups of classes fit it.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/index.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

namespace moevit {

/// Classes and how often each pair is confused. Weights are symmetric, finite and not negative; the diagonal is 0.
class ClassGraph {
 public:
  /// `weights`: classes x classes, row-major. Throws Error when they are not as the class says.
  ClassGraph(std::vector<double> weights, Index classes) : classes_(classes), weights_(std::move(weights)) {
    if (classes < 1) fail("class graph: expected at least 1 class, found ", classes);
    if (std::ssize(weights_) != classes * classes) {
      fail("class graph: expected ", classes, " x ", classes, " = ", classes * classes, " weights, found ",
           weights_.size());
    }
    for (Index a = 0; a < classes; ++a)
      for (Index b = 0; b <= a; ++b) check(a, b);
  }

  Index classes() const { return classes_; }
  double weight(Index a, Index b) const { return weights_[static_cast<std::size_t>(a * classes_ + b)]; }
  /// classes x classes, row-major.
  const std::vector<double>& weights() const { return weights_; }

 private:
  void check(Index a, Index b) const {
    const double value = weight(a, b);
    if (!std::isfinite(value) || value < 0)
      fail("class graph: weight ", value, " between classes ", a, " and ", b, " is not a finite number from 0 up");
    if (a == b && value != 0) fail("class graph: weight ", value, " of class ", a, " with itself, expected 0");
    if (value != weight(b, a)) {
      fail("class graph: not symmetric: ", value, " from class ", a, " to ", b, ", ", weight(b, a), " from ", b, " to ",
           a);
    }
  }

  Index classes_;
  std::vector<double> weights_;
};

namespace detail {

template <class T>
ClassGraph class_graph_of(std::span<const T> confusion, Index classes) {
  if (classes < 1) fail("confusion: expected at least 1 class, found ", classes);
  if (static_cast<Index>(confusion.size()) != classes * classes) {
    fail("confusion: expected ", classes, " x ", classes, " = ", classes * classes, " counts, found ",
         confusion.size());
  }
  const auto count = [&](Index truth, Index found) {
    const auto value = static_cast<double>(confusion[static_cast<std::size_t>(truth * classes + found)]);
    if (!std::isfinite(value) || value < 0)
      fail("confusion: count ", value, " of class ", truth, " taken for ", found, " is not a finite number from 0 up");
    return value;
  };
  std::vector<double> weights;
  weights.reserve(confusion.size());
  for (Index a = 0; a < classes; ++a)
    for (Index b = 0; b < classes; ++b) {
      const double both = count(a, b) + count(b, a);  // of the diagonal too: it must make sense as well
      weights.push_back(a == b ? 0 : both);
    }
  return {std::move(weights), classes};
}

/// Throws Error unless there is a group for every class, numbered from 0 to classes - 1.
inline void check_groups(std::span<const int> groups, Index classes) {
  if (static_cast<Index>(groups.size()) != classes)
    fail("super-classes: expected a group for each of ", classes, " classes, found ", groups.size());
  for (const int group : groups)
    if (group < 0 || group >= classes)
      fail("super-classes: expected groups from 0 to ", classes - 1, ", found ", group);
}

}  // namespace detail

/// The graph of a confusion matrix C, classes x classes counts or rates with a row for each true class, better of
/// images that the model was not trained on: weight(a, b) = C(a, b) + C(b, a), and 0 of a class with itself.
/// Throws Error when the matrix has another size or a value that is negative or not finite.
inline ClassGraph class_graph(std::span<const double> confusion, Index classes) {
  return detail::class_graph_of(confusion, classes);
}
inline ClassGraph class_graph(std::span<const Index> confusion, Index classes) {
  return detail::class_graph_of(confusion, classes);
}

/// Newman and Girvan's modularity (2004) at resolution 1: the share of all weight that lies inside of groups, less what
/// it would be if edges were drawn at random between classes of these degrees. From -1/2 to 1; 0 for a graph without
/// edges. `groups`: the group of each class. Throws Error when there are not as many as classes, or one is
/// not from 0 to classes - 1.
inline double modularity(const ClassGraph& graph, std::span<const int> groups) {
  detail::check_groups(groups, graph.classes());
  const std::size_t count = static_cast<std::size_t>(*std::max_element(groups.begin(), groups.end())) + 1;
  std::vector<double> inside(count), degree(count);
  double total = 0;
  for (Index a = 0; a < graph.classes(); ++a)
    for (Index b = 0; b < graph.classes(); ++b) {
      const auto group = static_cast<std::size_t>(groups[static_cast<std::size_t>(a)]);
      if (groups[static_cast<std::size_t>(b)] == static_cast<int>(group)) inside[group] += graph.weight(a, b);
      degree[group] += graph.weight(a, b);
      total += graph.weight(a, b);
    }
  if (total <= 0) return 0;
  double result = 0;
  for (std::size_t group = 0; group < count; ++group)
    result += inside[group] / total - degree[group] / total * (degree[group] / total);
  return result;
}

}  // namespace moevit
