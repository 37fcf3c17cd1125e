/// Local search for groups of higher modularity: moves of one node, swaps of two, sequences of moves.
#pragma once

#include <moevit/train/modularity.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace moevit::detail {

/// Smaller gains may be rounding, and following them might never end.
inline constexpr double least_gain = 1e-12;

/// Whether a group may lose its last node.
enum class Emptying : unsigned char { allowed, forbidden };

/// A node, where it would go and what that is worth.
struct Move {
  Index node = -1;
  Index to = -1;
  double gain = 0;
};

/// The best move of a node to another group that has room; its target is -1 when there is none.
inline Move best_move(const Grouping& grouping, Index node, Emptying emptying) {
  Move best{node, -1, 0};
  if (emptying == Emptying::forbidden && grouping.is_alone(node)) return best;
  for (Index to = 0; to < grouping.count(); ++to) {
    if (to == grouping.group(node) || !grouping.has_room(node, to)) continue;
    const double gain = grouping.move_gain(node, to);
    if (best.to < 0 || gain > best.gain) best = {node, to, gain};
  }
  return best;
}

/// Moves nodes, in this order, to their best groups until no move helps. Whether anything was moved.
inline bool improve_by_moves(Grouping& grouping, const std::vector<Index>& order, Emptying emptying) {
  bool improved = false;
  for (bool again = true; again;) {
    again = false;
    for (const Index node : order) {
      const Move move = best_move(grouping, node, emptying);
      if (move.to < 0 || move.gain <= least_gain) continue;
      grouping.move(node, move.to);
      again = improved = true;
    }
  }
  return improved;
}

/// Swaps nodes of different groups until no swap helps; where groups are full no move is possible. Whether any was.
inline bool improve_by_swaps(Grouping& grouping) {
  bool improved = false;
  for (bool again = true; again;) {
    again = false;
    for (Index a = 0; a < grouping.nodes(); ++a)
      for (Index b = a + 1; b < grouping.nodes(); ++b) {
        if (grouping.group(a) == grouping.group(b) || !grouping.can_swap(a, b)) continue;
        if (grouping.swap_gain(a, b) <= least_gain) continue;
        const Index group = grouping.group(a);
        grouping.move(a, grouping.group(b));
        grouping.move(b, group);
        again = improved = true;
      }
  }
  return improved;
}

/// One pass of Kernighan and Lin (1970): the best move again and again, be it a loss, each node at most once; then back
/// to where the sum of gains was highest. It gives up after 40 moves without a new highest sum. Whether there was a
/// gain.
inline bool improve_by_sequence(Grouping& grouping, Emptying emptying) {
  constexpr std::size_t patience = 40;
  std::vector<std::pair<Index, Index>> history;  // node, where it was
  std::vector<Index> unmoved(static_cast<std::size_t>(grouping.nodes()));
  std::iota(unmoved.begin(), unmoved.end(), Index{0});
  double sum = 0, highest = least_gain;
  std::size_t kept = 0;
  while (!unmoved.empty() && history.size() < kept + patience) {
    Move best;
    for (const Index node : unmoved) {
      const Move move = best_move(grouping, node, emptying);
      if (move.to >= 0 && (best.to < 0 || move.gain > best.gain)) best = move;
    }
    if (best.to < 0) break;
    history.emplace_back(best.node, grouping.group(best.node));
    grouping.move(best.node, best.to);
    unmoved.erase(std::find(unmoved.begin(), unmoved.end(), best.node));
    sum += best.gain;
    if (sum > highest) highest = sum, kept = history.size();
  }
  for (std::size_t i = history.size(); i > kept; --i) grouping.move(history[i - 1].first, history[i - 1].second);
  return kept > 0;
}

/// All three until none of them helps.
inline void improve(Grouping& grouping, Emptying emptying) {
  std::vector<Index> order(static_cast<std::size_t>(grouping.nodes()));
  std::iota(order.begin(), order.end(), Index{0});
  for (bool again = true; again;) {
    again = improve_by_moves(grouping, order, emptying);
    again = improve_by_swaps(grouping) || again;
    again = improve_by_sequence(grouping, emptying) || again;
  }
}

}  // namespace moevit::detail
