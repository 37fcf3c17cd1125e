/// Dropout, expert dropout and stochastic depth of a model's training passes.
#pragma once

#include <moevit/layers/masks.hpp>

#include <cstdint>

namespace moevit {

/// How much training passes leave out; each 0 to below 1.
struct DropRates {
  /// Where V-MoE's code has it: behind the embedding with its positions, behind attention, and behind both layers of
  /// dense MLPs.
  double dropout = 0;
  /// Behind both layers of every expert; V-MoE and ST-MoE fine-tune with more than elsewhere.
  double expert_dropout = 0;
  /// Probability that an image skips a half of the last block; it falls linearly to 0 at the first.
  double stochastic_depth = 0;

  /// Throws Error when a rate makes no sense.
  void check() const {
    const auto check_one = [](const char* what, double rate) {
      if (!(rate >= 0 && rate < 1)) fail(what, ": expected a rate from 0 to below 1, found ", rate);
    };
    check_one("dropout", dropout);
    check_one("expert dropout", expert_dropout);
    check_one("stochastic depth", stochastic_depth);
  }
};

/// What one training pass leaves out: a function of the seed, the step and the place in the model alone.
struct Drop {
  DropRates rates = {};
  std::uint64_t seed = 0;
  Index step = 0;

  /// Of the tokens that enter the first block.
  ElementMask embedding() const { return elements(rates.dropout, 0, Place::embedding); }

  /// Of a block; images have `tokens` tokens.
  BlockMasks block(int number, Index depth, Index tokens, bool is_sparse) const {
    const double share = depth > 1 ? static_cast<double>(number) / static_cast<double>(depth - 1) : 1.;
    const auto branch = [&](double dropout, Place place, Place path) {
      return BranchMask(elements(dropout, number, place), rates.stochastic_depth * share, stream(number, path), tokens);
    };
    return {.attention = branch(rates.dropout, Place::attention, Place::attention_path),
            .mlp = branch(is_sparse ? 0. : rates.dropout, Place::mlp, Place::mlp_path),
            .hidden = elements(rates.dropout, number, Place::hidden),
            .experts = {elements(rates.expert_dropout, number, Place::expert_hidden),
                        elements(rates.expert_dropout, number, Place::expert_outputs)}};
  }

 private:
  enum class Place : unsigned char {
    embedding,
    attention,
    attention_path,
    mlp,
    mlp_path,
    hidden,
    expert_hidden,
    expert_outputs
  };

  std::uint64_t stream(int block, Place place) const {
    constexpr std::uint64_t drop_stream = 0x64726f70;  // apart from those of data and mixup
    return detail::stream_of(seed, drop_stream, step, block, static_cast<int>(place));
  }
  ElementMask elements(double rate, int block, Place place) const {
    return rate > 0 ? ElementMask(rate, stream(block, place)) : ElementMask();
  }
};

}  // namespace moevit
