/// Who goes where with what weight: the result of every sparse router.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/tensor.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// One choice of a router, kept or dropped.
struct Choice {
  std::int32_t token = 0;  ///< row of the token stream
  std::int32_t rank = 0;   ///< 0: the token's best expert (for expert choice: the expert's best token)
  std::int32_t expert = 0;
  std::int32_t slot = -1;  ///< place in the expert's buffer of its group; -1: dropped
  float gate = 0.f;        ///< weight of the expert's output
};

/// A kept choice seen from its token: which computed row, with what weight.
struct TokenRow {
  std::int32_t row = 0;
  float gate = 0.f;
};

/// Consecutive tokens that are consecutive rows of an expert, so that nothing needs to be gathered.
struct RowRun {
  std::int32_t first_token = 0;
  std::int32_t first_row = 0;
  std::int32_t rows = 0;
};

/// All choices of a router over a batch, and the kept ones in compressed rows: by expert (what to compute, tokens
/// rising) and by token in rising expert order (what to combine). Plain arrays of integers and floats, no pointers.
///
/// Filled by start(), add() for each choice, finish(). After reserve() with enough room nothing allocates.
class SparsePlan {
 public:
  /// Room for plans of up to this many tokens, experts and choices.
  void reserve(Index tokens, Index experts, Index choices) {
    choices_.reserve(static_cast<std::size_t>(choices));
    order_.reserve(static_cast<std::size_t>(choices));
    row_tokens_.reserve(static_cast<std::size_t>(choices));
    token_rows_.reserve(static_cast<std::size_t>(choices));
    runs_.reserve(static_cast<std::size_t>(choices));
    token_begin_.reserve(static_cast<std::size_t>(tokens) + 1);
    for (auto* list : {&row_begin_, &run_begin_, &demand_, &cursor_})
      list->reserve(static_cast<std::size_t>(experts) + 1);
  }

  /// Begins an empty plan. `capacity` is the number of slots per expert and group.
  void start(Index tokens, Index experts, Index groups, Index capacity) {
    tokens_ = static_cast<int>(tokens);
    experts_ = static_cast<int>(experts);
    groups_ = static_cast<int>(groups);
    capacity_ = capacity;
    choices_.clear();
    order_.clear();
  }

  void add(const Choice& choice) { choices_.push_back(choice); }
  std::span<Choice> mutable_choices() { return choices_; }

  /// Notes that the choice with this number is served next (fill order of limited buffers).
  void serve(std::int32_t choice) { order_.push_back(choice); }

  /// Builds the compressed rows from the choices.
  void finish() {
    count_rows();
    place_rows();
    find_runs();
  }

  int tokens() const { return tokens_; }
  int experts() const { return experts_; }
  int groups() const { return groups_; }
  /// Slots per expert and group.
  Index capacity() const { return capacity_; }
  /// Choices that were kept: rows that the experts compute.
  int rows() const { return row_begin_.empty() ? 0 : row_begin_.back(); }

  /// Every choice made, dropped ones too. Token choice: by group position, then rank. Expert choice: by group, expert,
  /// rank.
  std::span<const Choice> choices() const { return choices_; }
  /// Choice numbers in the order in which buffers were filled (empty for routers without buffers to fill).
  std::span<const std::int32_t> service_order() const { return order_; }

  /// Choices that named this expert, before capacity.
  int demand(int expert) const { return demand_[check(expert)]; }
  int kept(int expert) const { return row_begin_[check(expert) + 1] - row_begin_[check(expert)]; }
  int dropped(int expert) const { return demand(expert) - kept(expert); }

  /// The first of this expert's rows among all rows.
  int first_row(int expert) const { return row_begin_[check(expert)]; }
  /// Token of every row, expert by expert, rising within an expert.
  std::span<const std::int32_t> row_tokens() const { return row_tokens_; }
  /// The expert's rows as runs of consecutive tokens.
  std::span<const RowRun> runs(int expert) const {
    const auto first = static_cast<std::size_t>(run_begin_[check(expert)]);
    return std::span(runs_).subspan(first, static_cast<std::size_t>(run_begin_[check(expert) + 1]) - first);
  }
  /// The rows of a token in rising expert order.
  std::span<const TokenRow> rows_of_token(int token) const {
    const auto first = static_cast<std::size_t>(token_begin_[static_cast<std::size_t>(token)]);
    return std::span(token_rows_)
        .subspan(first, static_cast<std::size_t>(token_begin_[static_cast<std::size_t>(token) + 1]) - first);
  }

 private:
  std::size_t check(int expert) const {
    if (expert < 0 || expert >= experts_) fail("plan: expected an expert below ", experts_, ", found ", expert);
    return static_cast<std::size_t>(expert);
  }

  void count_rows() {
    demand_.assign(static_cast<std::size_t>(experts_), 0);
    row_begin_.assign(static_cast<std::size_t>(experts_) + 1, 0);
    token_begin_.assign(static_cast<std::size_t>(tokens_) + 1, 0);
    for (const Choice& choice : choices_) {
      ++demand_[static_cast<std::size_t>(choice.expert)];
      if (choice.slot < 0) continue;
      ++row_begin_[static_cast<std::size_t>(choice.expert) + 1];
      ++token_begin_[static_cast<std::size_t>(choice.token) + 1];
    }
    for (std::size_t i = 1; i < row_begin_.size(); ++i) row_begin_[i] += row_begin_[i - 1];
    for (std::size_t i = 1; i < token_begin_.size(); ++i) token_begin_[i] += token_begin_[i - 1];
  }

  // Two counting sorts: kept choices by token with experts rising, then, in that order, by expert.
  void place_rows() {
    const auto kept_rows = static_cast<std::size_t>(rows());
    row_tokens_.resize(kept_rows);
    token_rows_.assign(kept_rows, TokenRow{-1, 0.f});
    for (const Choice& choice : choices_)
      if (choice.slot >= 0) insert_by_expert(choice);
    cursor_.assign(row_begin_.begin(), row_begin_.end() - 1);
    for (int token = 0; token < tokens_; ++token)
      for (auto i = static_cast<std::size_t>(token_begin_[static_cast<std::size_t>(token)]);
           i < static_cast<std::size_t>(token_begin_[static_cast<std::size_t>(token) + 1]); ++i) {
        const int row = cursor_[static_cast<std::size_t>(token_rows_[i].row)]++;
        row_tokens_[static_cast<std::size_t>(row)] = token;
        token_rows_[i].row = row;
      }
  }

  // Until its row is known, TokenRow::row holds the expert. A token has few rows, so insertion sort it is.
  void insert_by_expert(const Choice& choice) {
    const auto first = static_cast<std::size_t>(token_begin_[static_cast<std::size_t>(choice.token)]);
    auto last = first;
    while (last < static_cast<std::size_t>(token_begin_[static_cast<std::size_t>(choice.token) + 1]) &&
           token_rows_[last].row >= 0)
      ++last;
    for (; last > first && token_rows_[last - 1].row > choice.expert; --last) token_rows_[last] = token_rows_[last - 1];
    token_rows_[last] = {choice.expert, choice.gate};
  }

  void find_runs() {
    runs_.clear();
    run_begin_.assign(1, 0);
    for (int expert = 0; expert < experts_; ++expert) {
      for (int row = row_begin_[static_cast<std::size_t>(expert)];
           row < row_begin_[static_cast<std::size_t>(expert) + 1]; ++row) {
        const std::int32_t token = row_tokens_[static_cast<std::size_t>(row)];
        const bool extends =
            row > row_begin_[static_cast<std::size_t>(expert)] && runs_.back().first_token + runs_.back().rows == token;
        if (extends)
          ++runs_.back().rows;
        else
          runs_.push_back({token, row, 1});
      }
      run_begin_.push_back(static_cast<std::int32_t>(runs_.size()));
    }
  }

  int tokens_ = 0;
  int experts_ = 0;
  int groups_ = 0;
  Index capacity_ = 0;
  std::vector<Choice> choices_;
  std::vector<std::int32_t> order_;
  std::vector<std::int32_t> demand_;      // by expert
  std::vector<std::int32_t> row_begin_;   // experts + 1
  std::vector<std::int32_t> row_tokens_;  // rows
  std::vector<std::int32_t> run_begin_;   // experts + 1
  std::vector<RowRun> runs_;
  std::vector<std::int32_t> token_begin_;  // tokens + 1
  std::vector<TokenRow> token_rows_;       // rows
  std::vector<std::int32_t> cursor_;
};

}  // namespace moevit
