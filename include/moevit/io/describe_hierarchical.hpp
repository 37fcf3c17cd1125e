/// Finds out which Swin or CvT a weights file is for, from its names and shapes; io/describe.hpp asks.
#pragma once

#include <moevit/io/inferred_model.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moevit::detail {

/// What both families have: stages of blocks with MLPs or experts, and a classifier behind the last one.
class HierarchicalInference : protected Inference {
 public:
  using Inference::Inference;

 protected:
  using PerStage = std::array<Index, most_stages>;

  static std::string stage_name(Index stage, const std::string& part) {
    return numbered_name("stages.", static_cast<std::size_t>(stage)) + "." + part;
  }
  static std::string block_name(Index stage, Index block, const std::string& part) {
    return stage_name(stage, numbered_name("blocks.", static_cast<std::size_t>(block)) + "." + part);
  }
  /// Throws Error when the tensor is not there or of another rank.
  Shape shape_of(std::size_t rank, const std::string& name) const {
    const auto found = shapes_.find_name(name);
    if (!found || found->shape.size() != rank) unknown("no parameter " + name + " of rank " + std::to_string(rank));
    return found->shape;
  }
  bool has(const std::string& name) const { return shapes_.find_name(name).has_value(); }

  /// Blocks of every stage; the first 0 ends them.
  PerStage depths() const {
    PerStage depths{};
    for (Index stage = 0; stage < static_cast<Index>(most_stages); ++stage) {
      Index& depth = depths[static_cast<std::size_t>(stage)];
      while (has(block_name(stage, depth, "norm1.scale"))) ++depth;
      if (depth == 0) break;
    }
    if (depths[0] == 0) unknown("no block in stage 0");
    return depths;
  }

  /// Hidden width over width in the first block of a stage that has an MLP; `usual` when all blocks have experts.
  float mlp_ratio(Index stage, Index depth, Index dim, float usual) const {
    for (Index block = 0; block < depth; ++block)
      if (const auto kernel = shapes_.find_name(block_name(stage, block, "mlp.hidden.kernel")))
        return static_cast<float>(kernel->shape.back()) / static_cast<float>(dim);
    return usual;
  }

  void infer_experts(const PerStage& depths) {
    MoeConfig& moe = result_.description.moe;
    moe.placement = no_blocks();
    std::vector<Index> sparse;
    Index number = 0;
    for (std::size_t stage = 0; stage < most_stages; ++stage)
      for (Index block = 0; block < depths[stage]; ++block, ++number) {
        const auto name = block_name(static_cast<Index>(stage), block, "moe.experts.hidden.kernel");
        if (!has(name)) continue;
        sparse.push_back(number);
        moe.experts = shape_of(3, name)[0];
        const std::string router = block_name(static_cast<Index>(stage), block, "moe.router.");
        moe.router = has(router + "temperature") ? RouterKind::cosine : RouterKind::top_k;
      }
    if (sparse.empty()) return;
    if (sparse.back() > 255) unknown("sparse blocks above number 255");
    moe.placement = blocks(sparse);
    moe.selected = 1;
    assume("The number of selected experts is not stored: taken as 1.");
  }

  Index classes() const { return has("head.kernel") ? shape_of(2, "head.kernel")[1] : 0; }
};

class SwinInference : HierarchicalInference {
 public:
  using HierarchicalInference::HierarchicalInference;

  InferredModel run() {
    result_.description.family = ModelFamily::swin;
    swin_.depths = depths();
    infer_embedding();
    infer_experts(swin_.depths);
    infer_blocks();
    for (Index stage = 0; stage < swin_.stages(); ++stage)
      swin_.output_norms[static_cast<std::size_t>(stage)] = has(stage_name(stage, "output_norm.scale"));
    if (swin_.has_output_norms()) swin_.form = WindowForm::pad;
    swin_.classes = swin_.has_output_norms() ? 0 : classes();
    infer_windows();
    assume_usual("Swin", swin_.activation, swin_.epsilon);
    return std::move(result_);
  }

 private:
  void infer_embedding() {
    const Shape kernel = shape_of(4, "stages.0.embedding.projection.kernel");
    if (kernel[0] != kernel[1]) unknown("patches are not square");
    swin_.patch = kernel[0], swin_.channels = kernel[2], swin_.dim = kernel[3];
    swin_.patch_norm = has("stages.0.embedding.norm.scale");
    for (const char* positions :
         {"absolute_pos_embed", "embeddings.position_embeddings", "stages.0.embedding.position_embedding"})
      swin_.absolute_positions = swin_.absolute_positions || shapes_.has_theirs(positions);
  }

  void infer_blocks() {
    swin_.mlp_ratio = mlp_ratio(0, swin_.depth(0), swin_.dim, 4.f);
    swin_.qkv_bias = has(block_name(0, 0, "attention.query.bias"));
    const std::string part = has(block_name(0, 0, "mlp.output.kernel")) ? "mlp" : "moe.experts";
    swin_.mlp_output_bias = has(block_name(0, 0, part + ".output.bias"));
  }

  /// Tables of biases have (2 window - 1)^2 rows. Only a window that was shrunk to its map tells how large images are.
  void infer_windows() {
    const auto window_of = [&](Index stage) {
      const Shape table = shape_of(2, block_name(stage, 0, "attention.relative_position_bias"));
      swin_.heads[static_cast<std::size_t>(stage)] = table[1];
      const auto side = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(table[0]))));
      if (side * side != table[0] || side % 2 == 0)
        unknown("a table of " + std::to_string(table[0]) + " relative positions, which no square window has");
      return (side + 1) / 2;
    };
    swin_.heads.fill(0);  // those of absent stages
    swin_.window = window_of(0);
    for (Index stage = 0; stage < swin_.stages(); ++stage) {
      const Index window = window_of(stage);
      swin_.image = window * (swin_.patch << stage);
      if (window < swin_.window) return;
    }
    assume("The size of images is not stored: taken as " + std::to_string(swin_.image) +
           ", of which the last stage has one window.");
  }

  SwinConfig& swin_ = result_.description.swin;
};

class CvtInference : HierarchicalInference {
 public:
  using HierarchicalInference::HierarchicalInference;

  InferredModel run() {
    result_.description.family = ModelFamily::cvt;
    cvt_.depths = depths();
    for (PerStage* numbers : {&cvt_.dims, &cvt_.heads, &cvt_.patches, &cvt_.patch_strides, &cvt_.patch_paddings})
      numbers->fill(0);  // those of absent stages
    for (Index stage = 0; stage < cvt_.stages(); ++stage) infer_stage(stage);
    infer_experts(cvt_.depths);
    cvt_.qkv_bias = has(block_name(0, 0, "attention.query.bias"));
    cvt_.class_token = has(stage_name(cvt_.stages() - 1, "embedding.class_token"));
    cvt_.classes = classes();
    if (named_.table->naming == Naming::cvt_hugging_face) cvt_.activation = Activation::gelu_erf;
    assume(
        "Heads are taken as 64 wide, windows of the embeddings as the published models have them (7 by 4 with 2 "
        "places around, 3 by 2 with 1), keys and values at every second place, images as 224 x 224: not stored.");
    assume_usual(result_.naming, cvt_.activation, cvt_.epsilon);
    return std::move(result_);
  }

 private:
  void infer_stage(Index stage) {
    const auto at = static_cast<std::size_t>(stage);
    const Shape kernel = shape_of(4, stage_name(stage, "embedding.projection.kernel"));
    if (stage == 0) cvt_.channels = kernel[2];
    cvt_.dims[at] = kernel[3];
    cvt_.heads[at] = kernel[3] % 64 == 0 ? kernel[3] / 64 : 1;
    cvt_.patches[at] = kernel[0];
    cvt_.patch_strides[at] = std::max<Index>(1, (kernel[0] + 1) / 2);
    cvt_.patch_paddings[at] = (kernel[0] - 1) / 2 - (kernel[0] > 3 ? 1 : 0);
    cvt_.kernels[at] = shape_of(3, block_name(stage, 0, "attention.query.convolution.kernel"))[0];
    cvt_.query_paddings[at] = cvt_.key_value_paddings[at] = cvt_.kernels[at] / 2;
    cvt_.mlp_ratios[at] = mlp_ratio(stage, cvt_.depth(stage), kernel[3], 4.f);
  }

  CvtConfig& cvt_ = result_.description.cvt;
};

}  // namespace moevit::detail
