/// Assignment: from gates to a plan, for token choice and for expert choice.
#pragma once

#include <moevit/moe/plan.hpp>
#include <moevit/moe/routing_options.hpp>
#include <moevit/simd/top_k.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace moevit {

/// Memory that assignment sorts in; grows to the largest group once.
struct AssignScratch {
  std::vector<std::uint64_t> keys, sorted;
  std::vector<float> column;         // gates of one expert
  std::vector<std::int32_t> filled;  // by expert
  void reserve(Index tokens, Index experts) {
    for (auto* list : {&keys, &sorted}) list->reserve(static_cast<std::size_t>(tokens));
    column.reserve(static_cast<std::size_t>(tokens));
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

/// Sorts keys by their upper halves, rising; equal ones stay in order, so that keys made by falling_key with rising
/// indices end up sorted whole. `other` is room for as many keys.
inline void sort_keys(std::vector<std::uint64_t>& keys, std::vector<std::uint64_t>& other) {
  constexpr std::size_t few = 64;  // below, clearing the counters takes longer than comparing
  if (keys.size() < few) return std::sort(keys.begin(), keys.end());
  constexpr int digits = 4, first_bit = 32, bits = 8;
  std::array<std::array<std::uint32_t, 1 << bits>, digits> begin{};
  const auto digit_of = [](std::uint64_t key, int digit) { return key >> (first_bit + digit * bits) & 0xffu; };
  for (const std::uint64_t key : keys)
    for (int digit = 0; digit < digits; ++digit) ++begin[static_cast<std::size_t>(digit)][digit_of(key, digit)];
  other.resize(keys.size());
  for (int digit = 0; digit < digits; ++digit) {
    auto& next = begin[static_cast<std::size_t>(digit)];
    if (next[digit_of(keys.front(), digit)] == keys.size()) continue;  // all alike: gates share their upper bits
    std::uint32_t sum = 0;
    for (std::uint32_t& count : next) count = std::exchange(sum, sum + count);
    for (const std::uint64_t key : keys) other[next[digit_of(key, digit)]++] = key;
    keys.swap(other);
  }
}

}  // namespace detail

/// Begins a plan of token choice, k choices for each of `tokens`, which choose_top_k is to write. Throws Error when k
/// is not in 1..E or the capacity is below 1.
inline void start_top_k(Index tokens, Index experts, Index group, const RoutingOptions& options, SparsePlan& plan) {
  if (options.selected < 1 || options.selected > experts)
    fail("routing: expected 1 to ", experts, " selected experts, found ", options.selected);
  const Index capacity = resolve_capacity(options, group * options.selected, experts, group);
  plan.start(tokens, experts, tokens / std::max<Index>(group, 1), capacity);
  plan.add_choices(tokens * options.selected);
}

/// Writes the k choices of tokens number begin .. begin + count - 1 to the plan. `row_of(number)` gives the token's row
/// in gates and stream, `position_of(number)` its position in the fill order. May run on many threads at once.
template <class RowOf, class PositionOf>
void choose_top_k(ConstMatrixView gates, Index begin, Index count, Index k, std::span<Choice> choices, RowOf row_of,
                  PositionOf position_of) {
  simd::visit_top_k([&](Index i) { return gates.row_data(row_of(begin + i)); }, count, gates.cols(), k,
                    [&](Index i, Index rank, std::int32_t expert, float gate) {
                      choices[static_cast<std::size_t>(position_of(begin + i) * k + rank)] = {
                          static_cast<std::int32_t>(row_of(begin + i)), static_cast<std::int32_t>(rank), expert, -1,
                          gate};
                    });
}

namespace detail {

/// Leaves in scratch.keys the tokens of a group in the order of service.
inline void order_tokens(std::span<const Choice> choices, Index group, const RoutingOptions& options,
                         AssignScratch& scratch) {
  const Index k = options.selected;
  scratch.keys.resize(static_cast<std::size_t>(group));
  for (Index i = 0; i < group; ++i) {
    float score = choices[static_cast<std::size_t>(i * k)].gate;
    if (options.priority == Priority::sum_of_gates) {
      score = 0.f;
      for (Index rank = 0; rank < k; ++rank) score += choices[static_cast<std::size_t>(i * k + rank)].gate;
    }
    scratch.keys[static_cast<std::size_t>(i)] = falling_key(score, i);
  }
  sort_keys(scratch.keys, scratch.sorted);
}

}  // namespace detail

/// Fills the slots of one group of `group` tokens that begins at position `first`: rank by rank, tokens in the order of
/// service; each choice takes the next number of its expert, and numbers from the capacity on are dropped, which moves
/// nothing elsewhere. Source: V-MoE, section 3 and appendix; the order by max gate uses the top-1 gate for every rank.
inline void fill_slots(Index first, Index group, const RoutingOptions& options, SparsePlan& plan,
                       AssignScratch& scratch) {
  const Index k = options.selected;
  const std::span<Choice> choices =
      plan.mutable_choices().subspan(static_cast<std::size_t>(first * k), static_cast<std::size_t>(group * k));
  const bool by_position = options.priority == Priority::position;
  if (!by_position) detail::order_tokens(choices, group, options, scratch);
  scratch.filled.assign(static_cast<std::size_t>(plan.experts()), 0);
  std::int32_t *served = plan.serve_many(group * k).data(), *const filled = scratch.filled.data();
  const Index capacity = plan.capacity();
  const auto serve = [&](Index number) {
    Choice& choice = choices[static_cast<std::size_t>(number)];
    const std::int32_t slot = filled[choice.expert]++;
    choice.slot = slot < capacity ? slot : -1;
    *served++ = static_cast<std::int32_t>(first * k + number);
  };
  for (Index rank = 0; rank < k; ++rank) {
    if (by_position)
      for (Index i = 0; i < group; ++i) serve(i * k + rank);
    else
      for (const std::uint64_t key : scratch.keys) serve(detail::key_index(key) * k + rank);
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

/// Ends a plan of token choice whose choices have been made: fills the slots group by group of `group` positions,
/// weighs, and builds the rows.
inline void finish_top_k(Index group, const RoutingOptions& options, SparsePlan& plan, AssignScratch& scratch) {
  for (Index first = 0; first < plan.tokens(); first += group) fill_slots(first, group, options, plan, scratch);
  weigh_choices(options, plan);
  plan.finish();
}

/// Token choice: each of the tokens takes its k best experts, group by group of `group` positions. `row_of(position)`
/// gives the token's row in gates and stream. gates: tokens x E, finite. Throws Error when k is not in 1..E or the
/// capacity is below 1.
template <class RowOf>
void assign_top_k(ConstMatrixView gates, Index group, const RoutingOptions& options, SparsePlan& plan,
                  AssignScratch& scratch, RowOf row_of) {
  start_top_k(gates.rows(), gates.cols(), group, options, plan);
  choose_top_k(gates, 0, gates.rows(), options.selected, plan.mutable_choices(), row_of,
               [](Index position) { return position; });
  finish_top_k(group, options, plan, scratch);
}

inline void assign_top_k(ConstMatrixView gates, Index group, const RoutingOptions& options, SparsePlan& plan,
                         AssignScratch& scratch) {
  assign_top_k(gates, group, options, plan, scratch, [](Index position) { return position; });
}

namespace detail {

/// Leaves in scratch.keys the `most` largest of scratch.column in falling order, ties to the lower index.
inline void sort_largest(Index most, AssignScratch& scratch) {
  const auto count = static_cast<Index>(scratch.column.size());
  const float limit = simd::limit_of_largest(scratch.column.data(), count, most);
  scratch.keys.resize(scratch.column.size());
  Index taken = 0, equal = most;  // values equal to the limit that still fit in
  for (const float value : scratch.column) equal -= value > limit;
  for (Index i = 0; i < count; ++i) {
    const float value = scratch.column[static_cast<std::size_t>(i)];
    scratch.keys[static_cast<std::size_t>(taken)] = falling_key(value, i);
    const bool fits = value == limit && equal > 0;
    equal -= fits;
    taken += value > limit || fits;
    if (taken == most) break;
  }
  scratch.keys.resize(static_cast<std::size_t>(most));
  sort_keys(scratch.keys, scratch.sorted);
}

}  // namespace detail

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
  scratch.column.resize(static_cast<std::size_t>(group));
  for (Index first = 0; first < gates.rows(); first += group)
    for (Index expert = 0; expert < experts; ++expert) {
      const float* gate_of = gates.row_data(first) + expert;
      for (Index i = 0; i < group; ++i) scratch.column[static_cast<std::size_t>(i)] = gate_of[i * gates.stride()];
      detail::sort_largest(capacity, scratch);
      const std::span<Choice> choices = plan.add_choices(capacity);
      for (std::int32_t slot = 0; slot < capacity; ++slot) {
        const Index i = detail::key_index(scratch.keys[static_cast<std::size_t>(slot)]);
        choices[static_cast<std::size_t>(slot)] = {
            static_cast<std::int32_t>(first + i), slot, static_cast<std::int32_t>(expert), slot,
            options.scale_by_gate ? scratch.column[static_cast<std::size_t>(i)] : 1.f};
      }
    }
  plan.finish();
}

}  // namespace moevit
