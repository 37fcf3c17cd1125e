/// The experts of one sparse block.
#pragma once

#include <moevit/layers/mlp.hpp>

#include <concepts>
#include <vector>

namespace moevit {

/// An expert: widths dim -> dim, computing blocks of at most `block_rows` rows, or `expert_block_rows` if it has that,
/// on the calling thread.
template <class X>
concept Expert = requires(const X& expert, ConstMatrixView x, MatrixView y, Arena& arena) {
  { X::dim } -> std::convertible_to<Index>;
  { X::block_rows } -> std::convertible_to<Index>;
  { X::scratch_bytes(Index{1}) } -> std::convertible_to<Index>;
  expert.forward(x, y, arena);
};

/// Experts that are computed one at a time: forward(expert, x, y, arena) takes a block of at most `block_rows` rows.
template <class B>
concept Bank = requires(const B& bank, ConstMatrixView x, MatrixView y, Arena& arena) {
  { B::dim } -> std::convertible_to<Index>;
  { B::block_rows } -> std::convertible_to<Index>;
  { B::scratch_bytes(Index{1}) } -> std::convertible_to<Index>;
  { bank.experts() } -> std::convertible_to<Index>;
  bank.forward(Index{0}, x, y, arena);
};

/// A bank that also takes the rows of a block wherever they lie, so that they need not be gathered first:
/// forward_rows(expert, rows, row_of, y, arena). row_of(row), which may be called again for the same row, points to
/// `dim` floats until it is called the next time. y: rows x D.
template <class B>
concept GatheringBank = Bank<B> && requires(const B& bank, const float* (*row_of)(Index), MatrixView y, Arena& arena) {
  { bank.forward_rows(Index{0}, Index{1}, row_of, y, arena) } -> std::same_as<void>;
};

/// What the gradients of one expert's weights are made of, one row for each of its rows in a pass.
struct ExpertRows {
  ConstMatrixView x;          ///< rows x D
  ConstMatrixView activated;  ///< hidden layer behind its activation
  ConstMatrixView d_hidden;   ///< gradient of the hidden layer before it
  ConstMatrixView dy;         ///< gradient of the output
};

/// Lists the same parameters of many experts as single parameters with a leading expert axis. `all` holds those of the
/// experts in their order, as many of each.
template <class T>
void each_stacked_parameter(Index experts, std::vector<BasicParameter<T>> all, const BasicParameterVisitor<T>& visit) {
  if (experts == 0) return;
  const std::size_t count = all.size() / static_cast<std::size_t>(experts);
  for (std::size_t i = 0; i < count; ++i) {
    BasicParameter<T> stacked = std::move(all[i]);
    stacked.shape.insert(stacked.shape.begin(), experts);
    for (std::size_t own = i + count; own < all.size(); own += count) {
      stacked.matrices.push_back(all[own].matrices.front());
      stacked.stores.insert(stacked.stores.end(), all[own].stores.begin(), all[own].stores.end());
    }
    visit(std::move(stacked));
  }
}

/// E independent experts, each with weights of its own.
template <class X>
class ExpertBank {
  static_assert(Expert<X>,
                "ExpertBank: the expert must have dim, block_rows, scratch_bytes(rows) and forward(x, y, arena)");

 public:
  using ExpertType = X;
  static constexpr Index dim = X::dim;
  static constexpr Index block_rows = [] {
    if constexpr (requires { X::expert_block_rows; })
      return Index{X::expert_block_rows};
    else
      return Index{X::block_rows};
  }();

  explicit ExpertBank(Index experts) : experts_(static_cast<std::size_t>(experts)) {}

  static constexpr Index scratch_bytes(Index rows) { return X::scratch_bytes(rows); }
  Index experts() const { return static_cast<Index>(experts_.size()); }
  X& expert(Index number) { return experts_[static_cast<std::size_t>(number)]; }
  const X& expert(Index number) const { return experts_[static_cast<std::size_t>(number)]; }

  /// y = expert(x) for a block of rows.
  void forward(Index number, ConstMatrixView x, MatrixView y, Arena& arena) const {
    expert(number).forward(x, y, arena);
  }
  /// See GatheringBank.
  template <class RowOf>
  requires requires(const X& expert, RowOf row_of, MatrixView y, Arena& arena) {
    expert.forward_rows(Index{1}, row_of, y, arena);
  }
  void forward_rows(Index number, Index rows, RowOf row_of, MatrixView y, Arena& arena) const {
    expert(number).forward_rows(rows, row_of, y, arena);
  }

  /// Shared scratch that training needs beside that of the experts.
  static constexpr Index training_bytes = 0;
  /// Adds the gradients of all experts to this object; `weights`: the bank that made the pass. rows_of(expert) gives
  /// ExpertRows, which may be none.
  template <class RowsOf>
  void add_gradients(const ExpertBank& /*weights*/, RowsOf rows_of, Workspace& workspace) {
    // Of each expert, as few of them may have rows; more shares than workers, as numbers of rows differ.
    const Index shares = workspace.workers() == 1 ? 1 : 2 * workspace.workers();
    workspace.parallel(experts() * shares, [&](Index task, Arena& arena) {
      const ExpertRows rows = rows_of(task / shares);
      if (rows.x.rows() > 0)
        expert(task / shares)
            .add_gradient(rows.x, rows.activated, rows.d_hidden, rows.dy, {task % shares, shares}, arena);
    });
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    using T = ParameterValue<Self>;
    std::vector<BasicParameter<T>> all;
    for (Index number = 0; number < self.experts(); ++number)
      X::each_parameter(self.expert(number), prefix, Role::expert, CollectParameters<T>{all});
    each_stacked_parameter<T>(self.experts(), std::move(all), visit);
  }

 private:
  std::vector<X> experts_;
};

}  // namespace moevit
