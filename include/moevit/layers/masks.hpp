/// What a training pass leaves out at random: elements (dropout) and whole branches of an image (stochastic depth).
///
/// Nothing is stored: a mask is a function of its stream and of row and column, so that a pass that is done again, a
/// backward pass and a run that is resumed see the same one, with any number of threads.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/mix_bits.hpp>
#include <moevit/core/workspace.hpp>
#include <moevit/simd/rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace moevit {

namespace detail {

/// A coin that is thrown by bits: it drops with probability `rate` and multiplies what it keeps by 1 / (1 - rate).
struct DropCoin {
  std::uint64_t threshold = 0;  // of 32 bits; 0: everything is kept as it is
  float kept = 1.f;

  DropCoin() = default;
  explicit DropCoin(double rate)
      : threshold(static_cast<std::uint64_t>(std::ldexp(rate, 32))), kept(static_cast<float>(1. / (1. - rate))) {}
  bool is_active() const { return threshold > 0; }
  float factor(std::uint64_t bits) const { return (bits & 0xffffffffu) < threshold ? 0.f : kept; }
};

}  // namespace detail

/// Dropout of the elements of rows (Srivastava et al. 2014): each is 0 with probability `rate`, else it is multiplied
/// by 1 / (1 - rate), so that its mean stays.
class ElementMask {
 public:
  /// Leaves everything as it is.
  ElementMask() = default;
  /// rate: 0 to below 1.
  ElementMask(double rate, std::uint64_t stream) : coin_(rate), stream_(stream) {}

  bool is_active() const { return coin_.is_active(); }
  /// The mask whose row 0 is row `first` of this one.
  ElementMask from(Index first) const {
    ElementMask mask = *this;
    mask.first_row_ += first;
    return mask;
  }
  /// Multiplies `count` values of a row by its mask.
  void apply(Index row, float* values, Index count) const {
    if (!is_active()) return;
    const std::uint64_t bits = detail::mix_bits(stream_ ^ static_cast<std::uint64_t>(first_row_ + row));
    for (Index i = 0; i < count; i += 2) {  // every 64 bits are two coins
      const std::uint64_t pair = detail::mix_bits(bits + static_cast<std::uint64_t>(i));
      values[i] *= coin_.factor(pair);
      if (i + 1 < count) values[i + 1] *= coin_.factor(pair >> 32);
    }
  }

 private:
  detail::DropCoin coin_;
  std::uint64_t stream_ = 0;
  Index first_row_ = 0;
};

/// What is left out of a branch before it is added to the stream: elements, and the whole branch of an image
/// (stochastic depth, Huang et al. 2016), with the same rule of the mean.
class BranchMask {
 public:
  /// Leaves everything as it is.
  BranchMask() = default;
  /// Rows are images of `tokens` tokens, each of which loses the branch with probability `rate`, 0 to below 1.
  BranchMask(const ElementMask& elements, double rate, std::uint64_t stream, Index tokens)
      : elements_(elements), coin_(rate), stream_(stream), tokens_(tokens) {}

  bool is_active() const { return elements_.is_active() || coin_.is_active(); }
  /// The mask whose row 0 is row `first` of this one.
  BranchMask from(Index first) const {
    BranchMask mask = *this;
    mask.elements_ = elements_.from(first);
    mask.first_row_ += first;
    return mask;
  }
  /// Multiplies `count` values of a row by its mask.
  void apply(Index row, float* values, Index count) const {
    const auto image = static_cast<std::uint64_t>((first_row_ + row) / tokens_);
    const float factor = coin_.is_active() ? coin_.factor(detail::mix_bits(stream_ ^ image)) : 1.f;
    elements_.apply(row, values, count);
    if (factor != 1.f)
      for (Index i = 0; i < count; ++i) values[i] *= factor;
  }

 private:
  ElementMask elements_;
  detail::DropCoin coin_;
  std::uint64_t stream_ = 0;
  Index tokens_ = 1;
  Index first_row_ = 0;
};

/// The masks of experts: rows of the hidden layer behind its activation, and of what an expert puts out, are those of
/// the plan. V-MoE's code drops both.
struct ExpertMasks {
  ElementMask hidden, outputs;
};

/// The masks of one block in one training pass.
struct BlockMasks {
  BranchMask attention;  ///< of the output of attention
  BranchMask mlp;        ///< of the output of the MLP, or of all experts together
  ElementMask hidden;    ///< of the hidden layer of the MLP behind its activation
  ExpertMasks experts;
  float* room = nullptr;  ///< as many floats as the stream has, for backward; only with an active branch mask

  /// The masks of dense halves whose row 0 is row `first` of these, which are `dim` wide.
  BlockMasks from(Index first, Index dim) const {
    BlockMasks masks = *this;
    masks.attention = attention.from(first), masks.mlp = mlp.from(first), masks.hidden = hidden.from(first);
    if (room) masks.room = room + first * dim;
    return masks;
  }
};

/// result, the output of a branch, becomes stream + [scale *] masked output, for some rows. scale may be null.
inline void add_masked_branch(ConstMatrixView stream, const float* scale, const BranchMask& mask, MatrixView result) {
  const Index dim = stream.cols();
  for (Index row = 0; row < result.rows(); ++row) {
    float* y = result.row_data(row);
    mask.apply(row, y, dim);
    if (scale)
      for (Index i = 0; i < dim; ++i) y[i] *= scale[i];
    simd::add_scaled_row(1.f, stream.row_data(row), dim, y);
  }
}

/// d_branch = masked d_stream: the gradient of the output of a branch.
inline void mask_gradient(ConstMatrixView d_stream, const BranchMask& mask, MatrixView d_branch, Workspace& workspace) {
  workspace.parallel_rows(d_stream.rows(), 256, [&](Index first, Index count, Arena&) {
    for (Index row = first; row < first + count; ++row) {
      std::copy_n(d_stream.row_data(row), d_stream.cols(), d_branch.row_data(row));
      mask.apply(row, d_branch.row_data(row), d_branch.cols());
    }
  });
}

}  // namespace moevit
