/// Which expert took which region of an image: the places of the maps of hierarchical models.
#pragma once

#include <moevit/io/report/statistics.hpp>
#include <moevit/models/dense_model.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// Where a sparse block lies, and what its places are.
struct RegionBlock {
  int block = 0;  ///< in the whole model
  Index stage = 0;
  Index stride = 1;  ///< pixels of the model's image from one place to the next
  Index experts = 0;

  /// "block 3, stage 1"
  std::string name() const { return "block " + std::to_string(block) + ", stage " + std::to_string(stage); }
};

/// The map of one sparse block for one image, and where its places went.
struct BlockRegions {
  RegionBlock where;
  MapSize map;
  report::PatchRouting places;  ///< row by row

  /// How many places have their largest gate for each expert; behind them, how many no expert computed.
  std::vector<Index> counts() const {
    std::vector<Index> result(static_cast<std::size_t>(where.experts) + 1);
    for (std::size_t place = 0; place < places.expert.size(); ++place) {
      const bool is_taken = places.expert[place] >= 0 && !places.dropped[place];
      ++result[is_taken ? static_cast<std::size_t>(places.expert[place]) : result.size() - 1];
    }
    return result;
  }
};

/// Places by expert of a sparse block, over any number of images.
struct RegionCounts {
  RegionBlock where;
  std::vector<Index> by_expert;  ///< BlockRegions::counts(), added up
};

/// The sparse blocks of a backbone, or of a segmenter or detector.
template <class Net>
std::vector<RegionBlock> region_blocks() {
  if constexpr (requires { typename Net::BackboneType; }) {
    return region_blocks<typename Net::BackboneType>();
  } else {
    std::vector<RegionBlock> blocks;
    for (int block = 0; block < Net::depth; ++block)
      if (Net::moe.placement.contains(block, Net::depth)) {
        const Index stage = Net::stage_of(block);
        blocks.push_back({block, stage, map_stride<Net>(static_cast<std::size_t>(stage)), Net::moe.experts});
      }
    return blocks;
  }
}

/// What the sparse blocks of Net - a hierarchical backbone, segmenter or detector - did with image number `image` of
/// `images` of a size in the last pass of a context. Throws Error when that pass had other images, and for blocks that
/// route softly, where nothing is chosen.
template <class Net>
std::vector<BlockRegions> region_routing(const Context& context, MapSize size, Index image, Index images) {
  if constexpr (requires { typename Net::BackboneType; }) {
    return region_routing<typename Net::BackboneType>(context, size, image, images);
  } else {
    std::vector<BlockRegions> result;
    const auto sizes = Net::map_sizes(size);
    for (const RegionBlock& where : region_blocks<Net>()) {
      const MapSize map = sizes[static_cast<std::size_t>(where.stage) + 1];
      const Index tokens = Net::tokens_at(where.block, sizes);  // class tokens stand in front
      const SparsePlan& plan = context.plan(where.block);
      if (image < 0 || image >= images || plan.tokens() != images * tokens)
        fail("routing of regions: ", where.name(), ": expected the plan of ", images, " images of ", tokens,
             " tokens and one of them, found image ", image, " and a plan of ", plan.tokens(), " tokens");
      result.push_back({where, map, report::patch_routing(plan, image * tokens + tokens - map.places(), map.places())});
    }
    return result;
  }
}

/// Adds the places of one image's blocks to those of other images; `totals` is empty before the first.
inline void add_regions(std::span<const BlockRegions> blocks, std::vector<RegionCounts>& totals) {
  if (totals.empty())
    for (const BlockRegions& block : blocks)
      totals.push_back({block.where, std::vector<Index>(static_cast<std::size_t>(block.where.experts) + 1)});
  if (totals.size() != blocks.size())
    fail("routing of regions: expected ", totals.size(), " sparse blocks, as in other images, found ", blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::vector<Index> counts = blocks[i].counts();
    for (std::size_t expert = 0; expert < counts.size(); ++expert) totals[i].by_expert.at(expert) += counts[expert];
  }
}

}  // namespace moevit
