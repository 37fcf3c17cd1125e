/// Whole transformer blocks, dense and sparse.
#include "moe_common.hpp"

#include <moevit/moe/sparse_block.hpp>
#include <moevit/moe/top_k_router.hpp>

#include <memory>

namespace moevit::bench {
namespace {

constexpr VitConfig tiny{};  // ViT-Tiny/16
constexpr VitConfig small{.dim = 384, .depth = 1, .heads = 6, .hidden = 1536};
constexpr MoeConfig small_moe{.experts = 8, .selected = 2, .placement = every(1)};

/// Multiply-adds of one image through the attention half.
template <VitConfig config>
constexpr Index attention_multiply_adds = config.tokens() * config.attention_width() *
                                          (4 * config.dim + 2 * config.tokens());

/// A block with random weights, its input streams, and the context it runs in.
template <VitConfig config, class BlockType>
struct Block {
  ModelDescription model;
  Index count;
  BlockType block;
  std::vector<Parameter> parameters =
      random_parameters([this](auto visit) { BlockType::each_parameter(block, "blocks.0", visit); });
  std::vector<std::vector<float>> x = random_inputs(rows() * config.dim);
  std::vector<float> y = std::vector<float>(x[0].size());

  Block(const ModelDescription& description, Index image_count) : model(description), count(image_count) {}
  Index rows() const { return count * config.tokens(); }
  MatrixView restart(Index input) {
    std::copy(x[static_cast<std::size_t>(input)].begin(), x[static_cast<std::size_t>(input)].end(), y.begin());
    return {y.data(), rows(), config.dim};
  }
  /// One image per input is enough to see any mistake in how a block is put together.
  void check(Index input) const {
    const Index first = input % count * config.tokens();
    const reference::Matrix image(
        ConstMatrixView(x[static_cast<std::size_t>(input)].data() + first * config.dim, config.tokens(), config.dim));
    const reference::Matrix expected =
        reference::block(image, 0, reference::Weights(parameters), model, reference::Matrix(1, 0));
    require_close({y.data() + first * config.dim, config.tokens(), config.dim}, expected,
                  reference::rounding_tolerance(config.hidden, 4));
  }
};

Case dense_block(Index count) {
  using Type = DenseBlock<tiny>;
  const auto block = std::make_shared<Block<tiny, Type>>(ModelDescription{ModelFamily::vit, tiny, {}}, count);
  const auto workspace = std::make_shared<Workspace>(Type::scratch(count));
  const auto run = [block, workspace, count](Index input) {
    block->block.forward(block->restart(input), *workspace);
    const Index multiply_adds = attention_multiply_adds<tiny> + 2 * tiny.tokens() * tiny.dim * tiny.hidden;
    return Work{.multiply_adds = static_cast<double>(count * multiply_adds),
                .tokens = static_cast<double>(block->rows())};
  };
  return {run, [block](Index input) { block->check(input); }};
}

Case vmoe_block(Index count) {
  using Sparse = SparseMlp<TopKRouter<small.dim, small_moe.experts>, ExpertBank<ConfiguredMlp<small>>, small_moe>;
  using Type = SparseBlock<small, Sparse>;
  const auto block = std::make_shared<Block<small, Type>>(ModelDescription{ModelFamily::vmoe, small, small_moe}, count);
  const RoutingOptions options = routing_options(small_moe);
  const ScratchBytes attention = Attention<small>::scratch(count, small.tokens());
  ScratchBytes experts = Sparse::scratch(options, count, small.tokens());
  experts.shared += arena_bytes<float>(block->rows() * small.dim);  // the normalised tokens
  const auto context = std::make_shared<Context>(one_after_the_other(attention, experts),
                                                 ContextOptions{.images = count}, ExecutorRef{}, std::vector{0}, 1);
  context->routing = options;
  const auto run = [block, context, count](Index input) {
    context->start_pass();
    block->block.forward(block->restart(input), count, 1, 0, *context);
    const Index routed =
        block->rows() * small.dim * small_moe.experts + context->expert_rows() * ConfiguredMlp<small>::multiply_adds;
    return Work{.multiply_adds = static_cast<double>(count * attention_multiply_adds<small> + routed),
                .tokens = static_cast<double>(block->rows())};
  };
  return {run, [block](Index input) { block->check(input); }};
}

const bool added = [] {
  for (const Index count : {1, 8}) {
    const std::string batch = "/B" + std::to_string(count);
    add("blocks/dense_D192_T197" + batch, [count] { return dense_block(count); });
    add("blocks/vmoe_D384_T197_E8_top2" + batch, [count] { return vmoe_block(count); });
  }
  return true;
}();

}  // namespace
}  // namespace moevit::bench
