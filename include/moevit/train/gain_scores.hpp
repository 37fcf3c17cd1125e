/// Which MLPs of a dense model to make experts of: the first-order gain of every block.
///
/// Definition. Block l of a trained dense model gets E experts with one core, its MLP, and residuals r_1 ... r_E = 0; a
/// router sends every token to one of them. Let g_e be the gradient of the mean loss by r_e: the part of the gradient
/// of the MLP's weights that comes from the tokens of expert e. To first order, residuals of length eps lower the loss
/// by at most eps * sqrt(sum |g_e|^2). But a part of that needs no experts: equal residuals only move the core, as
/// dense training would. What is left to residuals that sum to zero is
///
///     s_l = sqrt(sum_e |g_e - mean g|^2),
///
/// the largest decrease per length that only splitting the MLP can bring. Blocks with large s_l are worth it. As all
/// residuals are zero, every block leaves the model the function that it is, and one pass scores all of them.
///
/// Wu et al. 2022, section 3, choose layers by a first-order Taylor gain |s_l| after "firefly splitting" (Wu et al.
/// 2020) without giving the routing or the norm; those, and leaving out what moves the core, are choices made here.
/// Routers are drawn at random: linear ones of normalised tokens, so that neighbours go to the same expert, as with the
/// router that training begins with. Tokens that were split without regard to what they are would still have different
/// g_e, by chance, the less the more images there are: scores of few images say little.
#pragma once

#include <moevit/models/cvt.hpp>
#include <moevit/models/hierarchical_backpropagation.hpp>
#include <moevit/models/swin.hpp>
#include <moevit/models/vmoe.hpp>
#include <moevit/train/classification_losses.hpp>
#include <moevit/train/initialise.hpp>
#include <moevit/train/upcycling.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace moevit {

/// Images as the model wants them, and their target probabilities, one row per image.
struct ScoredBatch {
  std::span<const float> images;
  ConstMatrixView targets;
};

/// Options of gain_scores().
struct GainOptions {
  Index routings = 1;      ///< random routers that scores are the mean square of
  std::uint64_t seed = 1;  ///< of the first; the others have those after it
  Index threads = 1;
};

/// The score of one block's MLP.
struct BlockGain {
  Index block = 0;  ///< counted over all stages
  double score = 0;
};

namespace detail {

/// Every block split, one expert per token with weight 1.
constexpr MoeConfig splitting(Index experts) {
  return {.experts = experts, .selected = 1, .placement = every(1), .scale_by_gate = false};
}
template <Index experts, VitConfig config>
auto split_type(const Vit<config>&)
    -> Vit<config,
           SparseMlp<TopKRouter<config.dim, experts>, ResidualExpertBank<ConfiguredMlp<config>>, splitting(experts)>>;
template <Index experts, SwinConfig config, MoeConfig moe, template <class> class Bank>
auto split_type(const HierarchicalTransformer<SwinFamily<config, moe, Bank>>&)
    -> Swin<config, splitting(experts), CoreAndResiduals>;
template <Index experts, CvtConfig config, MoeConfig moe, template <class> class Bank>
auto split_type(const HierarchicalTransformer<CvtFamily<config, moe, Bank>>&)
    -> Cvt<config, splitting(experts), CoreAndResiduals>;

/// sum_e |g_e - mean g|^2 of one parameter of all experts.
inline double squared_split(const std::vector<float>& gradient, Index experts) {
  const std::size_t size = gradient.size() / static_cast<std::size_t>(experts);
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    double mean = 0, squares = 0;
    for (std::size_t at = i; at < gradient.size(); at += size) mean += double{gradient[at]};
    mean /= static_cast<double>(experts);
    for (std::size_t at = i; at < gradient.size(); at += size)
      squares += (double{gradient[at]} - mean) * (double{gradient[at]} - mean);
    sum += squares;
  }
  return sum;
}

/// Adds the squared scores of a gradient, scaled, to those of the blocks, which come in the order of their names.
inline void add_squared_scores(std::span<const ConstParameter> gradients, double scale, std::span<double> squares) {
  std::string last;
  std::size_t block = 0, count = 0;
  for (const ConstParameter& gradient : gradients) {
    const auto place = gradient.name.find(residual_part);
    if (place == std::string::npos) continue;
    if (const std::string prefix = gradient.name.substr(0, place); prefix != last || count == 0)
      last = prefix, block = count++;
    squares[block] += scale * scale * squared_split(gradient.values(), std::ssize(gradient.matrices));
  }
}

/// Adds the gradients of the summed mean losses of all batches.
template <class Split>
void add_loss_gradients(const Split& net, std::span<const ScoredBatch> batches, Index threads, Split& gradients) {
  constexpr Index classes = Split::config.outputs(), image_values = Split::config.image_values();
  Index most = 1;
  for (const ScoredBatch& batch : batches) {
    if (std::ssize(batch.images) != batch.targets.rows() * image_values || batch.targets.cols() != classes)
      fail("gain scores: expected targets of ", std::ssize(batch.images) / image_values, " images x ", classes,
           " classes, found ", batch.targets.rows(), " x ", batch.targets.cols());
    most = std::max(most, batch.targets.rows());
  }
  Backpropagation run(net, {.images = most, .threads = threads});
  std::vector<float> outputs(static_cast<std::size_t>(most * classes)), d_outputs(outputs.size());
  for (const ScoredBatch& batch : batches) {
    const Index images = batch.targets.rows();
    const auto values = static_cast<std::size_t>(images * classes);
    run.forward(net, batch.images, std::span(outputs).first(values));
    softmax_cross_entropy({outputs.data(), images, classes}, batch.targets,
                          MatrixView(d_outputs.data(), images, classes));
    run.backward(net, std::span<const float>(d_outputs).first(values), gradients);
  }
}

}  // namespace detail

/// The scores of all blocks of a dense classifier, split in `experts` each, on the given batches of one size: see
/// above. The same bits for any number of threads. Needs the memory of the model with experts in every block, twice.
/// Throws Error when there are no batches or sizes do not fit.
///
///     const auto gains = gain_scores<8>(dense, batches);
///     std::puts(gain_table(gains, best_blocks(gains, 4)).c_str());
template <Index experts, class Dense>
std::vector<BlockGain> gain_scores(const Dense& dense, std::span<const ScoredBatch> batches,
                                   const GainOptions& options = {}) {
  using Split = decltype(detail::split_type<experts>(dense));
  if (batches.empty()) fail("gain scores: expected at least one batch, found none");
  if (options.routings < 1) fail("gain scores: expected at least one routing, found ", options.routings);
  const auto split = std::make_unique<Split>(), gradients = std::make_unique<Split>();
  std::vector<double> squares(static_cast<std::size_t>(Split::depth), 0.);
  for (Index routing = 0; routing < options.routings; ++routing) {
    initialise(split->parameters(), {.seed = options.seed + static_cast<std::uint64_t>(routing)});
    upcycle(dense, *split);
    set_to_zero(gradients->parameters());
    detail::add_loss_gradients(*split, batches, options.threads, *gradients);
    const Split& found = *gradients;
    detail::add_squared_scores(found.parameters(), 1. / static_cast<double>(batches.size()), squares);
  }
  std::vector<BlockGain> gains;
  for (std::size_t block = 0; block < squares.size(); ++block)
    gains.push_back({static_cast<Index>(block), std::sqrt(squares[block] / static_cast<double>(options.routings))});
  return gains;
}

/// The `count` blocks with the largest scores, ties to the earlier block. Throws Error when there are not so many.
inline Placement best_blocks(std::vector<BlockGain> gains, Index count) {
  if (count < 1 || count > std::ssize(gains))
    fail("best blocks: expected a number from 1 to the model's ", gains.size(), " blocks, found ", count);
  std::stable_sort(gains.begin(), gains.end(),
                   [](const BlockGain& a, const BlockGain& b) { return a.score > b.score; });
  std::vector<Index> list;
  for (Index i = 0; i < count; ++i) list.push_back(gains[static_cast<std::size_t>(i)].block);
  return blocks(list);
}

/// All scores, and which blocks a placement names.
inline std::string gain_table(std::span<const BlockGain> gains, const Placement& placement) {
  std::string text = "block       gain  experts\n";
  for (const BlockGain& gain : gains) {
    char line[64];
    std::snprintf(line, sizeof line, "%5lld %10.4g  %s\n", static_cast<long long>(gain.block), gain.score,
                  placement.contains(gain.block, std::ssize(gains)) ? "yes" : "-");
    text += line;
  }
  return text;
}

}  // namespace moevit
