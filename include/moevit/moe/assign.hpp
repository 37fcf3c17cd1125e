/// Assignment: from gates to a plan, for token choice and for expert choice.
#pragma once

#include <moevit/moe/plan.hpp>
#include <moevit/moe/routing_options.hpp>

#include <bit>
#include <cstdint>
#include <vector>

namespace moevit {

/// Memory that assignment sorts in; grows to the largest group once.
struct AssignScratch {
  std::vector<std::uint64_t> keys;
  std::vector<std::int32_t> filled;  // by expert
  void reserve(Index tokens, Index experts) {
    keys.reserve(static_cast<std::size_t>(tokens));
    filled.reserve(static_cast<std::size_t>(experts));
  }
};

namespace detail {

/// Sorts rising like (falling value, rising index): finite floats only.
inline std::uint64_t falling_key(float value, Index index) {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.f);  // -0 becomes 0
  const std::uint32_t rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (std::uint64_t{~rising} << 32) | static_cast<std::uint64_t>(index);
}
inline Index key_index(std::uint64_t key) { return static_cast<Index>(key & 0xffffffffu); }

/// The k largest of a row in falling order, ties to the lower expert; visit(rank, expert, value).
template <class Visit>
void visit_largest(const float* values, Index count, Index k, Visit visit) {
  float above = std::numeric_limits<float>::infinity();
  Index above_index = -1;
  for (Index rank = 0; rank < k; ++rank) {
    Index best = -1;
    for (Index i = 0; i < count; ++i) {
      const bool after_last = values[i] < above || (values[i] == above && i > above_index);
      if (after_last && (best < 0 || values[i] > values[best])) best = i;
    }
    visit(rank, best, values[best]);
    above = values[best];
    above_index = best;
  }
}

}  // namespace detail

/// Adds the k choices of every token to the plan, by position. `row_of(position)` gives the token's row in gates and
/// stream.
template <class RowOf>
void choose_top_k(ConstMatrixView gates, Index k, SparsePlan& plan, RowOf row_of) {
  for (Index position = 0; position < gates.rows(); ++position) {
    const Index row = row_of(position);
    detail::visit_largest(gates.row_data(row), gates.cols(), k, [&](Index rank, Index expert, float gate) {
      plan.add({static_cast<std::int32_t>(row), static_cast<std::int32_t>(rank), static_cast<std::int32_t>(expert), -1,
                gate});
    });
  }
}

/// Fills the slots of one group of `group` tokens that begins at position `first`: rank by rank, tokens in the order of
/// service; each choice takes the next number of its expert, and numbers from the capacity on are dropped, which moves
/// nothing elsewhere. Source: V-MoE, section 3 and appendix; the order by max gate uses the top-1 gate for every rank.
inline void fill_slots(Index first, Index group, const RoutingOptions& options, SparsePlan& plan,
                       AssignScratch& scratch) {
  const std::span<Choice> choices = plan.mutable_choices();
  const Index k = options.selected;
  scratch.keys.resize(static_cast<std::size_t>(group));
  for (Index i = 0; i < group; ++i) {
    float score = 0.f;
    if (options.priority == Priority::max_gate) score = choices[static_cast<std::size_t>((first + i) * k)].gate;
    if (options.priority == Priority::sum_of_gates)
      for (Index rank = 0; rank < k; ++rank) score += choices[static_cast<std::size_t>((first + i) * k + rank)].gate;
    scratch.keys[static_cast<std::size_t>(i)] = detail::falling_key(score, i);
  }
  if (options.priority != Priority::position) std::sort(scratch.keys.begin(), scratch.keys.end());
  scratch.filled.assign(static_cast<std::size_t>(plan.experts()), 0);
  for (Index rank = 0; rank < k; ++rank)
    for (const std::uint64_t key : scratch.keys) {
      const Index number = (first + detail::key_index(key)) * k + rank;
      Choice& choice = choices[static_cast<std::size_t>(number)];
      const std::int32_t slot = scratch.filled[static_cast<std::size_t>(choice.expert)]++;
      choice.slot = slot < plan.capacity() ? slot : -1;
      plan.serve(static_cast<std::int32_t>(number));
    }
}

/// Turns the gates of the choices into weights: divided by their sum over the token's k choices, or all 1, where asked
/// for.
inline void weigh_choices(const RoutingOptions& options, SparsePlan& plan) {
  const std::span<Choice> choices = plan.mutable_choices();
  const auto k = static_cast<std::size_t>(options.selected);
  if (!options.scale_by_gate) {
    for (Choice& choice : choices) choice.gate = 1.f;
  } else if (options.renormalise) {
    for (std::size_t first = 0; first < choices.size(); first += k) {
      float sum = 0.f;
      for (const Choice& choice : choices.subspan(first, k)) sum += choice.gate;
      for (Choice& choice : choices.subspan(first, k)) choice.gate /= sum;
    }
  }
}

/// Token choice: each of the tokens takes its k best experts, group by group of `group` positions.
/// gates: tokens x E, finite. Throws Error when k is not in 1..E or the capacity is below 1.
template <class RowOf>
void assign_top_k(ConstMatrixView gates, Index group, const RoutingOptions& options, SparsePlan& plan,
                  AssignScratch& scratch, RowOf row_of) {
  const Index experts = gates.cols();
  if (options.selected < 1 || options.selected > experts)
    fail("routing: expected 1 to ", experts, " selected experts, found ", options.selected);
  const Index capacity = resolve_capacity(options, group * options.selected, experts, group);
  plan.start(gates.rows(), experts, gates.rows() / std::max<Index>(group, 1), capacity);
  choose_top_k(gates, options.selected, plan, row_of);
  for (Index first = 0; first < gates.rows(); first += group) fill_slots(first, group, options, plan, scratch);
  weigh_choices(options, plan);
  plan.finish();
}

inline void assign_top_k(ConstMatrixView gates, Index group, const RoutingOptions& options, SparsePlan& plan,
                         AssignScratch& scratch) {
  assign_top_k(gates, group, options, plan, scratch, [](Index position) { return position; });
}

/// Expert choice: within each group every expert takes the C tokens with the largest gates of its column, ties to the
/// lower token; slot = rank. Throws Error when C exceeds the group. Source: Zhou et al. 2022; capacity is ratio *
/// tokens / E.
inline void assign_expert_choice(ConstMatrixView gates, Index group, const RoutingOptions& options, SparsePlan& plan,
                                 AssignScratch& scratch) {
  const Index experts = gates.cols();
  const Index capacity = resolve_capacity(options, group, experts, group);
  if (capacity > group)
    fail("expert choice: expected a capacity of at most the group's ", group, " tokens, found ", capacity);
  plan.start(gates.rows(), experts, gates.rows() / std::max<Index>(group, 1), capacity);
  scratch.keys.resize(static_cast<std::size_t>(group));
  for (Index first = 0; first < gates.rows(); first += group)
    for (Index expert = 0; expert < experts; ++expert) {
      for (Index i = 0; i < group; ++i)
        scratch.keys[static_cast<std::size_t>(i)] = detail::falling_key(gates(first + i, expert), i);
      std::nth_element(scratch.keys.begin(), scratch.keys.begin() + (capacity - 1), scratch.keys.end());
      std::sort(scratch.keys.begin(), scratch.keys.begin() + capacity);
      for (Index slot = 0; slot < capacity; ++slot) {
        const Index token = first + detail::key_index(scratch.keys[static_cast<std::size_t>(slot)]);
        const float gate = options.scale_by_gate ? gates(token, expert) : 1.f;
        plan.add({static_cast<std::int32_t>(token), static_cast<std::int32_t>(slot), static_cast<std::int32_t>(expert),
                  static_cast<std::int32_t>(slot), gate});
      }
    }
  plan.finish();
}

}  // namespace moevit
