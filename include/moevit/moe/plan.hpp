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
    row_tokens_.reserve(static_cast<std::size_t>(choices) + 1);
    token_rows_.reserve(static_cast<std::size_t>(choices) + 1);
    runs_.reserve(static_cast<std::size_t>(choices) + 1);
    for (auto* list : {&token_begin_, &token_end_}) list->reserve(static_cast<std::size_t>(tokens) + 1);
    for (auto* list : {&row_begin_, &run_begin_, &demand_, &cursor_})
      list->reserve(static_cast<std::size_t>(experts) + 1);
  }

  /// Begins an empty plan, which stays one without rows if an error keeps it from being finished. `capacity` is the
  /// number of slots per expert and group.
  void start(Index tokens, Index experts, Index groups, Index capacity) {
    tokens_ = static_cast<int>(tokens);
    experts_ = static_cast<int>(experts);
    groups_ = static_cast<int>(groups);
    capacity_ = capacity;
    made_ = 0;
    for (auto* list : {&order_, &row_tokens_}) list->clear();
    for (auto* list : {&row_begin_, &run_begin_}) list->assign(static_cast<std::size_t>(experts) + 1, 0);
    demand_.assign(static_cast<std::size_t>(experts), 0);
    token_begin_.assign(static_cast<std::size_t>(tokens) + 1, 0);
  }

  void add(const Choice& choice) { add_choices(1).front() = choice; }
  /// Adds `count` choices at once, which the caller is to write: they hold anything.
  std::span<Choice> add_choices(Index count) {
    const std::size_t first = made_;
    made_ += static_cast<std::size_t>(count);
    if (made_ > choices_.size()) choices_.resize(made_);
    return mutable_choices().subspan(first);
  }
  std::span<Choice> mutable_choices() { return std::span(choices_).first(made_); }

  /// Notes that the choice with this number is served next (fill order of limited buffers).
  void serve(std::int32_t choice) { order_.push_back(choice); }
  /// Notes `count` choices at once, whose numbers the caller is to write in the order of service.
  std::span<std::int32_t> serve_many(Index count) {
    const std::size_t first = order_.size();
    order_.resize(first + static_cast<std::size_t>(count));
    return std::span(order_).subspan(first);
  }

  /// Builds the compressed rows from the choices.
  void finish() {
    if (count_rows())
      place_in_token_order();
    else
      place_in_any_order();
    row_tokens_.pop_back();
    token_rows_.pop_back();
    find_runs(1);
  }

  /// The same for images routed whole: choices by token, none dropped, and every `tokens_per_image` tokens take the
  /// same experts with the same gates. Only the first token's choices of each image are looked at.
  void finish_images(Index tokens_per_image) {
    const auto step = static_cast<std::int32_t>(std::max<Index>(tokens_per_image, 1));
    const std::size_t selected = tokens_ ? made_ / static_cast<std::size_t>(tokens_) : 0;
    demand_.assign(static_cast<std::size_t>(experts_), 0);
    for (std::int32_t token = 0; token < tokens_; token += step)
      for (const Choice& choice : choices().subspan(static_cast<std::size_t>(token) * selected, selected))
        demand_[static_cast<std::size_t>(choice.expert)] += step;
    row_begin_.assign(static_cast<std::size_t>(experts_) + 1, 0);
    std::copy(demand_.begin(), demand_.end(), row_begin_.begin() + 1);
    begin_rows();
    for (std::int32_t token = 0; token < tokens_; token += step) place_image(token, step, selected);
    token_begin_.back() = rows();
    find_runs(step);
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
  std::span<const Choice> choices() const { return std::span(choices_).first(made_); }
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
  /// Whether no token has more than one row.
  bool has_single_rows() const {
    return std::ranges::adjacent_find(token_begin_, [](std::int32_t first, std::int32_t next) {
             return next - first > 1;
           }) == token_begin_.end();
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

  // Demand and rows of every expert; returns whether the choices' tokens never fall.
  bool count_rows() {
    demand_.assign(static_cast<std::size_t>(experts_), 0);
    row_begin_.assign(static_cast<std::size_t>(experts_) + 1, 0);
    std::int32_t last_token = 0;
    bool rising = true;
    for (const Choice& choice : choices()) {
      ++demand_[static_cast<std::size_t>(choice.expert)];
      row_begin_[static_cast<std::size_t>(choice.expert) + 1] += choice.slot >= 0;
      rising &= choice.token >= last_token;
      last_token = choice.token;
    }
    begin_rows();
    // One more than there are: where choices that were dropped are written, which is cheaper than to branch on them.
    row_tokens_.push_back(0);
    token_rows_.push_back({});
    return rising;
  }

  // From the number of rows of every expert to their beginnings, and room for them.
  void begin_rows() {
    for (std::size_t i = 1; i < row_begin_.size(); ++i) row_begin_[i] += row_begin_[i - 1];
    cursor_.assign(row_begin_.begin(), row_begin_.end() - 1);
    token_begin_.resize(static_cast<std::size_t>(tokens_) + 1);
    row_tokens_.resize(static_cast<std::size_t>(rows()));
    token_rows_.resize(static_cast<std::size_t>(rows()));
  }

  // One pass over choices that come token by token: each takes the next row of its expert.
  void place_in_token_order() {
    const Choice *choice = choices_.data(), *const end = choice + made_;
    TokenRow* next = token_rows_.data();
    const std::int32_t spare = rows();
    for (std::int32_t token = 0; token < tokens_; ++token) {
      token_begin_[static_cast<std::size_t>(token)] = static_cast<std::int32_t>(next - token_rows_.data());
      const Choice* const first = choice;
      while (choice != end && choice->token == token) ++choice;
      if (choice - first == 2) {
        const bool swapped = first[1].expert < first[0].expert;
        next = place(first[swapped], spare, next);
        next = place(first[!swapped], spare, next);
      } else {
        next = place_sorted(first, choice, next);
      }
    }
    token_begin_.back() = rows();
  }

  TokenRow* place(const Choice& choice, std::int32_t spare, TokenRow* next) {
    std::int32_t& cursor = cursor_[static_cast<std::size_t>(choice.expert)];
    const std::int32_t row = cursor;
    const bool kept = choice.slot >= 0;
    *next = {row, choice.gate};
    row_tokens_[static_cast<std::size_t>(kept ? row : spare)] = choice.token;
    cursor = row + kept;
    return next + kept;
  }

  // Any number of choices of one token. Until its row is known, TokenRow::row holds the expert.
  TokenRow* place_sorted(const Choice* choice, const Choice* end, TokenRow* const first) {
    TokenRow* last = first;
    const std::int32_t token = choice == end ? 0 : choice->token;
    for (; choice != end; ++choice)
      if (choice->slot >= 0) insert_by_expert(*choice, first, last++);
    for (TokenRow* entry = first; entry != last; ++entry) take_row(token, *entry);
    return last;
  }

  // Puts a choice behind those of lower experts in [first, last). They are few, so insertion sort it is.
  static void insert_by_expert(const Choice& choice, const TokenRow* first, TokenRow* last) {
    for (; last != first && last[-1].row > choice.expert; --last) *last = last[-1];
    *last = {choice.expert, choice.gate};
  }

  void take_row(std::int32_t token, TokenRow& entry) {
    entry.row = cursor_[static_cast<std::size_t>(entry.row)]++;
    row_tokens_[static_cast<std::size_t>(entry.row)] = token;
  }

  // Two counting sorts: kept choices by token with experts rising, then, in that order, by expert.
  void place_in_any_order() {
    token_begin_.assign(static_cast<std::size_t>(tokens_) + 1, 0);
    for (const Choice& choice : choices()) token_begin_[static_cast<std::size_t>(choice.token) + 1] += choice.slot >= 0;
    for (std::size_t i = 1; i < token_begin_.size(); ++i) token_begin_[i] += token_begin_[i - 1];
    token_end_.assign(token_begin_.begin(), token_begin_.end() - 1);
    for (const Choice& choice : choices()) {
      if (choice.slot < 0) continue;
      const auto token = static_cast<std::size_t>(choice.token);
      insert_by_expert(choice, token_rows_.data() + token_begin_[token], token_rows_.data() + token_end_[token]++);
    }
    for (std::int32_t token = 0; token < tokens_; ++token)
      for (auto i = token_begin_[static_cast<std::size_t>(token)]; i < token_end_[static_cast<std::size_t>(token)]; ++i)
        take_row(token, token_rows_[static_cast<std::size_t>(i)]);
  }

  // The rows of an image's `step` tokens from `token` on, `selected` for each.
  void place_image(std::int32_t token, std::int32_t step, std::size_t selected) {
    const std::size_t begin = static_cast<std::size_t>(token) * selected;
    const std::span<TokenRow> entries =
        std::span(token_rows_).subspan(begin, static_cast<std::size_t>(step) * selected);
    std::size_t placed = 0;
    for (const Choice& choice : choices().subspan(begin, selected))
      insert_by_expert(choice, entries.data(), entries.data() + placed++);
    for (std::size_t i = 0; i < selected; ++i) {
      std::int32_t& cursor = cursor_[static_cast<std::size_t>(entries[i].row)];
      const TokenRow first{cursor, entries[i].gate};
      for (std::int32_t t = 0; t < step; ++t) {
        entries[static_cast<std::size_t>(t) * selected + i] = {first.row + t, first.gate};
        row_tokens_[static_cast<std::size_t>(first.row + t)] = token + t;
      }
      cursor += step;
    }
    for (std::int32_t t = 0; t < step; ++t)
      token_begin_[static_cast<std::size_t>(token + t)] =
          static_cast<std::int32_t>(begin + static_cast<std::size_t>(t) * selected);
  }

  // Of runs that are known to go on for `step` rows at least. Every step is noted as the beginning of a run, and
  // overwritten by the next one unless it was: where runs end is hard to predict, so there is no branch. Lengths follow
  // from the beginnings.
  void find_runs(std::int32_t step) {
    runs_.resize(static_cast<std::size_t>(rows() / step) + 1);
    run_begin_.assign(1, 0);
    std::size_t count = 0;
    for (std::size_t expert = 0; expert < static_cast<std::size_t>(experts_); ++expert) {
      std::int32_t next_token = -1;
      for (int row = row_begin_[expert]; row < row_begin_[expert + 1]; row += step) {
        const std::int32_t token = row_tokens_[static_cast<std::size_t>(row)];
        runs_[count] = {token, row, 0};
        count += token != next_token;
        next_token = token + step;
      }
      run_begin_.push_back(static_cast<std::int32_t>(count));
    }
    runs_[count] = {0, rows(), 0};
    for (std::size_t i = 0; i < count; ++i) runs_[i].rows = runs_[i + 1].first_row - runs_[i].first_row;
    runs_.resize(count);
  }

  int tokens_ = 0;
  int experts_ = 0;
  int groups_ = 0;
  Index capacity_ = 0;
  std::vector<Choice> choices_;  // the first made_ are this plan's
  std::size_t made_ = 0;
  std::vector<std::int32_t> order_;
  std::vector<std::int32_t> demand_;      // by expert
  std::vector<std::int32_t> row_begin_;   // experts + 1
  std::vector<std::int32_t> row_tokens_;  // rows
  std::vector<std::int32_t> run_begin_;   // experts + 1
  std::vector<RowRun> runs_;
  std::vector<std::int32_t> token_begin_;  // tokens + 1
  std::vector<TokenRow> token_rows_;       // rows
  std::vector<std::int32_t> cursor_;       // by expert: the next row, while rows are placed
  std::vector<std::int32_t> token_end_;    // tokens
};

}  // namespace moevit
