/// Finds out which model a weights file is for.
#pragma once

#include <moevit/io/config_fields.hpp>
#include <moevit/io/describe_hierarchical.hpp>
#include <moevit/io/inferred_model.hpp>
#include <moevit/io/model_metadata.hpp>
#include <moevit/io/tensor_file.hpp>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

namespace detail {

/// Reads the description of a vision transformer without stages off names and shapes, one part after the other.
class VitInference : Inference {
 public:
  using Inference::Inference;

  InferredModel run() {
    infer_patches();
    infer_depth();
    infer_attention();
    infer_experts();
    infer_mlp();
    infer_head();
    infer_positions();
    assume_library_defaults();
    return std::move(result_);
  }

 private:
  void infer_patches() {
    const auto kernel = shapes_.find("patch_embedding.kernel");
    if (!kernel) unknown("no patch embedding");
    if (kernel->shape.size() == 4) {
      vit_.patch = kernel->shape[0];
      if (kernel->shape[1] != kernel->shape[0]) vit_.patch_width = kernel->shape[1];
      vit_.channels = kernel->shape[2];
      vit_.dim = kernel->shape[3];
      return;
    }
    if (kernel->shape.size() != 2) unknown("patch embedding of unexpected rank");
    vit_.dim = kernel->shape[1];
    for (const Index channels : {3, 1}) {
      const Index pixels = kernel->shape[0] / channels, side = square_root(pixels);
      if (kernel->shape[0] % channels != 0 || side * side != pixels) continue;
      vit_.patch = side;
      vit_.channels = channels;
      assume("A patch has " + std::to_string(kernel->shape[0]) + " values: taken as square with " +
             std::to_string(channels) + " channels.");
      return;
    }
    unknown("patches are not square");
  }

  void infer_depth() {
    vit_.depth = 0;
    while (shapes_.has("blocks.{}.norm1.scale", std::to_string(vit_.depth))) ++vit_.depth;
    if (vit_.depth == 0) unknown("no block 0");
  }

  void infer_attention() {
    const auto query = shapes_.find_rank(2, "blocks.{}.attention.query.kernel", "0");
    if (!query) unknown("no attention in block 0");
    const Index width = query->shape[1];
    const auto norm = shapes_.find_rank(1, "blocks.{}.attention.query_norm.scale", "0");
    if (query->heads > 0) {
      vit_.heads = query->heads;
    } else if (norm && width % norm->shape[0] == 0) {
      vit_.heads = width / norm->shape[0];
    } else {
      vit_.heads = width % 64 == 0 ? width / 64 : 1;
      assume("The number of heads is not stored: taken as " + std::to_string(vit_.heads) + " of width " +
             std::to_string(width / vit_.heads) + ".");
    }
    if (vit_.dim % vit_.heads != 0 || vit_.dim / vit_.heads != width / vit_.heads) vit_.head_width = width / vit_.heads;
    if (norm)
      vit_.qk_norm = shapes_.has("blocks.{}.attention.query_norm.bias", "0") ? QkNorm::scale_and_bias : QkNorm::scale;
    vit_.qkv_bias = shapes_.has("blocks.{}.attention.query.bias", "0");
    vit_.projection_bias = shapes_.has("blocks.{}.attention.output.bias", "0");
    vit_.layer_scale = shapes_.has("blocks.{}.scale1", "0");
  }

  void infer_experts() {
    std::vector<Index> sparse;
    for (Index block = 0; block < vit_.depth; ++block)
      if (shapes_.has("blocks.{}.moe.experts.hidden.kernel", std::to_string(block))) sparse.push_back(block);
    if (sparse.empty()) return;
    if (sparse.back() > 255) unknown("sparse blocks above number 255");
    const std::string first = std::to_string(sparse.front());
    const auto experts = shapes_.find_rank(3, "blocks.{}.moe.experts.hidden.kernel", first);
    if (!experts) unknown("experts of unexpected rank");
    moe_.experts = experts->shape[0];
    moe_.hidden = experts->shape[2];
    result_.description.family = ModelFamily::vmoe;
    const auto router = shapes_.find("blocks.{}.moe.router.kernel", first);
    if (shapes_.has("router.kernel")) {
      result_.description.family = ModelFamily::mobile_vmoe;
      assume("What the router reads is not stored: taken as the mean over the tokens.");
    } else if (const auto soft = shapes_.find_rank(3, "blocks.{}.moe.router.mu", first)) {
      moe_.router = RouterKind::soft;
      moe_.slots = soft->shape[2];
    } else if (!router) {
      moe_.router = RouterKind::random;
    } else if (router->members > 1) {
      moe_.members = router->members;
    }
    moe_.placement = placement_of(sparse);
    if (moe_.router == RouterKind::soft) return;
    const bool patch_router = result_.description.family == ModelFamily::vmoe && moe_.members == 1 && moe_.experts > 1;
    moe_.selected = patch_router ? 2 : 1;
    assume("The number of selected experts is not stored: taken as " + std::to_string(moe_.selected) + ".");
    if (router && moe_.members == 1)
      assume("The kind of router is not stored: taken as top-k (expert choice has the same weights).");
  }

  /// The rule that names these blocks, the usual one of the family first.
  Placement placement_of(const std::vector<Index>& sparse) const {
    const auto count = static_cast<Index>(sparse.size());
    const bool mobile = result_.description.family == ModelFamily::mobile_vmoe;
    std::vector<Placement> rules = {last_odd(count), last(count)};
    if (mobile || moe_.router == RouterKind::soft) std::swap(rules[0], rules[1]);
    for (Index step = 2; step <= vit_.depth; ++step) rules.push_back(every(step));
    const Placement list = blocks(sparse);
    for (const Placement& rule : rules) {
      bool same = true;
      for (Index block = 0; block < vit_.depth; ++block)
        same = same && rule.contains(block, vit_.depth) == list.contains(block, vit_.depth);
      if (same) return rule;
    }
    return list;
  }

  void infer_mlp() {
    std::optional<OurShape> kernel;
    std::string block;
    for (Index i = 0; i < vit_.depth && !kernel; ++i)
      kernel = shapes_.find_rank(2, "blocks.{}.mlp.hidden.kernel", block = std::to_string(i));
    if (!kernel) {
      if (result_.description.family == ModelFamily::vit) unknown("no MLP");
      vit_.hidden = moe_.hidden;
      vit_.mlp_bias = shapes_.has("blocks.{}.moe.experts.hidden.bias", "0");
    } else {
      vit_.hidden = kernel->shape[1];
      vit_.mlp_bias = shapes_.has("blocks.{}.mlp.hidden.bias", block);
    }
    if (moe_.hidden == vit_.hidden) moe_.hidden = 0;
  }

  void infer_head() {
    const bool token = shapes_.has("class_token");
    const bool after = shapes_.has_theirs("fc_norm.weight");
    if (shapes_.has("map_head.probe")) {
      vit_.head = Head::map;
    } else if (after) {
      vit_.head = Head::mean;
      vit_.final_norm = FinalNorm::after_pooling;
      vit_.unread_class_token = token;
    } else {
      vit_.head = token ? Head::class_token : Head::mean;
      if (!token) assume("There is no class token: the head is taken to read the mean over the tokens.");
    }
    if (const auto kernel = shapes_.find_rank(2, "representation.kernel")) vit_.representation = kernel->shape[1];
    const auto head = shapes_.find_rank(2, "head.kernel");
    vit_.classes = head ? head->shape[1] : 0;
  }

  void infer_positions() {
    const auto table = shapes_.find_rank(2, "position_embedding");
    const Index width = vit_.patch_width_pixels();
    if (!table) {
      vit_.positions = Positions::sincos2d;
      vit_.image = 14 * vit_.patch;
      assume("There are no learned positions: taken as sincos2d, and the image as 14 patches high.");
    } else {
      const Index patches = table->shape[0] - (vit_.has_class_token() ? 1 : 0);
      Index rows = square_root(patches);
      while (rows > 1 && patches % rows != 0) --rows;
      if (patches < 1 || rows < 1) unknown("position embedding without patches");
      vit_.image = rows * vit_.patch;
      if (rows * rows != patches)
        assume("The " + std::to_string(patches) + " patches make no square: taken as " + std::to_string(rows) +
               " rows.");
      if (patches / rows * width != vit_.image) vit_.image_width = patches / rows * width;
      return;
    }
    if (width != vit_.patch) vit_.image_width = 14 * width;
  }

  void assume_library_defaults() {
    switch (named_.table->naming) {
      case Naming::timm:
        vit_.activation = Activation::gelu_erf;
        break;
      case Naming::hugging_face:
        vit_.activation = Activation::gelu_erf;
        vit_.epsilon = 1e-12f;
        break;
      case Naming::vit_pytorch:
        vit_.activation = Activation::gelu_erf;
        vit_.epsilon = 1e-5f;
        break;
      default:
        break;
    }
    assume_usual(result_.naming, vit_.activation, vit_.epsilon);
  }

  static Index square_root(Index value) {
    return static_cast<Index>(std::lround(std::floor(std::sqrt(static_cast<double>(value)))));
  }

  VitConfig& vit_ = result_.description.vit;
  MoeConfig& moe_ = result_.description.moe;
};

}  // namespace detail

/// The model a file was saved from, or the one its names and shapes fit. Throws Error when the naming is unknown or
/// what every model of its kind has is not there.
inline InferredModel describe(const TensorFile& file) {
  if (const auto metadata = read_metadata(file)) return {metadata->description, "own", {}};
  const NamedTensors named = recognise_naming(file);
  const std::string path = file.path().string();
  const auto has = [shapes = detail::OurShapes(named)](const char* name) { return shapes.find_name(name).has_value(); };
  if (!has("stages.0.blocks.0.norm1.scale")) return detail::VitInference(path, named).run();
  if (has("stages.0.blocks.0.attention.relative_position_bias")) return detail::SwinInference(path, named).run();
  return detail::CvtInference(path, named).run();
}

}  // namespace moevit
