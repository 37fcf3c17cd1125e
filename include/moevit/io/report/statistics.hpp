/// Routing statistics of one router, gathered over any number of forward passes.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/moe/context.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <vector>

namespace moevit::report {

/// How often values between 0 and 1 fell into each of twenty bins.
struct Histogram {
  static constexpr std::size_t bins = 20;
  std::array<Index, bins> counts{};
  Index values = 0;
  double sum = 0;

  void add(double value) {
    const auto bin = static_cast<std::size_t>(std::clamp(value, 0.0, 1.0) * static_cast<double>(bins));
    ++counts[std::min(bin, bins - 1)];
    ++values;
    sum += value;
  }
  double mean() const { return values ? sum / static_cast<double>(values) : 0.0; }
};

/// What one router decided. A router for whole images (Mobile V-MoE) counts images, any other one tokens.
struct RouterStatistics {
  std::vector<int> blocks;  // that use its plan
  bool per_image = false;
  Index experts = 0;
  Index decisions = 0;                          // tokens or images
  Index slots = 0;                              // per expert, over all groups; 0: no limit
  std::vector<Index> demand;                    // by expert: choices before capacity
  std::vector<Index> kept;                      // by expert: choices after capacity
  std::vector<std::vector<Index>> by_class;     // classes x experts: choices before capacity
  std::vector<std::vector<Index>> by_position;  // patches x experts: choices before capacity; empty for whole images
  std::vector<Index> distinct;                  // images by the number of experts that computed any of their tokens
  Histogram first_gate, second_gate, entropy;   // entropy: of the gates, divided by log(experts)

  Index all_demand() const { return sum(demand); }
  Index all_kept() const { return sum(kept); }
  double dropped_share() const {
    return all_demand() ? 1.0 - static_cast<double>(all_kept()) / static_cast<double>(all_demand()) : 0.0;
  }
  /// "block 1", "blocks 2, 3"
  std::string name() const {
    std::string text = blocks.size() == 1 ? "block " : "blocks ";
    for (std::size_t i = 0; i < blocks.size(); ++i) text += (i ? ", " : "") + std::to_string(blocks[i]);
    return text;
  }
  static Index sum(const std::vector<Index>& values) {
    Index total = 0;
    for (const Index value : values) total += value;
    return total;
  }
};

/// The statistics of all routers of a model.
class RoutingStatistics {
 public:
  /// `classes`: number of classes that images are counted by.
  RoutingStatistics(const ModelDescription& model, Index classes) : model_(model), classes_(classes) {}

  /// Adds the last forward pass of a context; `classes` gives the class of each image, -1: unknown.
  /// Throws Error when a block routes softly, because there nothing is chosen.
  void add(const Context& context, std::span<const Index> classes) {
    std::size_t router = 0;
    const Routing* last = nullptr;
    for (int block = 0; block < context.depth(); ++block) {
      if (!context.is_sparse(block)) continue;
      const Routing& routing = context.routing_of(block);
      if (&routing == last) {
        note_block(routers_[router - 1], block);
        continue;
      }
      last = &routing;
      if (router == routers_.size()) routers_.push_back(start(routing, block, std::ssize(classes)));
      count(routing, classes, routers_[router++]);
    }
  }

  std::span<const RouterStatistics> routers() const { return routers_; }

 private:
  static void note_block(RouterStatistics& statistics, int block) {
    if (std::find(statistics.blocks.begin(), statistics.blocks.end(), block) == statistics.blocks.end())
      statistics.blocks.push_back(block);
  }

  RouterStatistics start(const Routing& routing, int block, Index images) const {
    if (routing.plan.tokens() == 0)
      fail("routing statistics: block ", block, " routes softly: nothing is chosen there");
    RouterStatistics statistics;
    const auto experts = static_cast<std::size_t>(routing.plan.experts());
    statistics.blocks = {block};
    statistics.per_image = routing.rows() == images;
    statistics.experts = routing.plan.experts();
    statistics.demand.assign(experts, 0);
    statistics.kept.assign(experts, 0);
    statistics.by_class.assign(static_cast<std::size_t>(classes_), std::vector<Index>(experts, 0));
    if (!statistics.per_image)
      statistics.by_position.assign(static_cast<std::size_t>(model_.vit.patches()), std::vector<Index>(experts, 0));
    statistics.distinct.assign(experts + 1, 0);
    return statistics;
  }

  void count(const Routing& routing, std::span<const Index> classes, RouterStatistics& statistics) const {
    const SparsePlan& plan = routing.plan;
    const auto images = std::ssize(classes);
    const Index tokens = model_.vit.tokens(), patches = model_.vit.patches();
    const Index rows = plan.tokens() / images;  // of an image, in all its copies
    std::vector<std::vector<bool>> used(classes.size(), std::vector<bool>(statistics.demand.size()));
    for (const Choice& choice : plan.choices()) {
      const Index image = choice.token / rows, token = choice.token % tokens;
      if (statistics.per_image && token != 0) continue;
      const auto expert = static_cast<std::size_t>(choice.expert), i = static_cast<std::size_t>(image);
      ++statistics.demand[expert];
      if (classes[i] >= 0) ++statistics.by_class[static_cast<std::size_t>(classes[i])][expert];
      const Index position = token - (tokens - patches);  // a class token stands in front
      if (!statistics.per_image && position >= 0) ++statistics.by_position[static_cast<std::size_t>(position)][expert];
      if (choice.slot < 0) continue;
      ++statistics.kept[expert];
      used[i][expert] = true;
    }
    for (const auto& experts : used)
      ++statistics.distinct[static_cast<std::size_t>(std::count(experts.begin(), experts.end(), true))];
    const bool limited = plan.capacity() * plan.groups() < plan.tokens();
    if (limited) statistics.slots += plan.capacity() * plan.groups();
    count_gates(routing.gates(), statistics);
  }

  static void count_gates(ConstMatrixView gates, RouterStatistics& statistics) {
    statistics.decisions += gates.rows();
    const double most = std::log(static_cast<double>(std::max<Index>(gates.cols(), 2)));
    for (Index row = 0; row < gates.rows(); ++row) {
      double first = 0, second = 0, entropy = 0;
      for (Index expert = 0; expert < gates.cols(); ++expert) {
        const double gate = gates(row, expert);
        if (gate > first)
          second = first, first = gate;
        else
          second = std::max(second, gate);
        if (gate > 0) entropy -= gate * std::log(gate);
      }
      statistics.first_gate.add(first);
      statistics.second_gate.add(second);
      statistics.entropy.add(entropy / most);
    }
  }

  ModelDescription model_;
  Index classes_;
  std::vector<RouterStatistics> routers_;
};

/// Where the patches of one image went in one block.
struct PatchRouting {
  std::vector<int> expert;    // by patch: the expert with the largest gate among the choices; -1: none chosen
  std::vector<bool> dropped;  // by patch: no expert computed it
};

/// The `patches` tokens of a plan that begin at first_token.
inline PatchRouting patch_routing(const SparsePlan& plan, Index first_token, Index patches) {
  PatchRouting result{std::vector<int>(static_cast<std::size_t>(patches), -1),
                      std::vector<bool>(static_cast<std::size_t>(patches), true)};
  std::vector<float> best(static_cast<std::size_t>(patches), -1.f);
  for (const Choice& choice : plan.choices()) {
    if (choice.token < first_token || choice.token >= first_token + patches) continue;
    const auto patch = static_cast<std::size_t>(choice.token - first_token);
    if (choice.slot >= 0) result.dropped[patch] = false;
    if (choice.gate <= best[patch]) continue;
    best[patch] = choice.gate;
    result.expert[patch] = choice.expert;
  }
  return result;
}

/// The patches of image number `image` of `images` in the last pass of a context. Of an ensemble the first member is
/// shown.
inline PatchRouting patch_routing(const Context& context, int block, Index image, Index images, const VitConfig& vit) {
  const SparsePlan& plan = context.plan(block);
  return patch_routing(plan, image * (plan.tokens() / images) + vit.tokens() - vit.patches(), vit.patches());
}

}  // namespace moevit::report
