// Training passes of dense blocks take a few images after the others, under the masks of those images: the bits are
// those of passes over the parts, one by one.
#include "layers/layer_test.hpp"
#include "parameter_values.hpp"
#include "same_bits.hpp"

#include <moevit/layers/block.hpp>
#include <moevit/layers/map_block.hpp>
#include <moevit/layers/window_attention.hpp>
#include <moevit/models/drop.hpp>
#include <moevit/train/parameter_runs.hpp>

using namespace moevit;

namespace {

constexpr Index hidden = 2048;  // so wide that a part has few images

/// A block of a Vit, with layer scales.
struct TokenCase {
  static constexpr VitConfig config{
      .image = 8, .patch = 2, .dim = 8, .depth = 1, .heads = 2, .hidden = hidden, .layer_scale = true};
  using Block = DenseBlock<config>;
  static constexpr Index dim = config.dim, tokens = config.tokens(), images = 40;
  static constexpr std::array<Index, 3> parts{13, 13, 14}, others{10, 15, 15};
  static_assert(ceil_div(images * tokens, training_rows<config>()) == std::ssize(parts));

  static ScratchBytes scratch() { return Block::training_scratch(images); }
  static Index saved_bytes(Index count) { return Block::saved_bytes(count * tokens); }
  static void pass(const Block& block, ConstMatrixView x, Index count, MatrixView y, Block& grads, MatrixView d,
                   Arena& memory, Workspace& workspace, const BlockMasks& masks) {
    const auto saved = Block::take_saved(count * tokens, memory);
    block.forward_saved(x, saved, y, workspace, masks);
    block.backward(x, saved, grads, d, workspace, masks);
  }
};

/// A block over maps.
struct MapCase {
  static constexpr MapSize map{7, 7};
  static constexpr Index dim = 16, tokens = map.places(), images = 14;
  using Attention = WindowAttention<WindowAttentionConfig{.dim = dim, .heads = 2, .window = 7}>;
  using Block = DenseMapBlock<Attention, Mlp<dim, hidden>>;
  static constexpr std::array<Index, 3> parts{4, 5, 5}, others{6, 6, 2};
  static_assert(ceil_div(images, images_of_training_part(2 * hidden + 4 * dim, tokens)) == std::ssize(parts));

  static ScratchBytes scratch() { return Block::training_scratch(images, map); }
  static Index saved_bytes(Index count) { return Block::saved_bytes(count, map); }
  static void pass(const Block& block, ConstMatrixView x, Index count, MatrixView y, Block& grads, MatrixView d,
                   Arena& memory, Workspace& workspace, const BlockMasks& masks) {
    const auto saved = Block::take_saved(count, map, memory);
    const MapBatch batch{count, map, 0};
    block.forward_saved(x, batch, saved, y, workspace, masks);
    block.backward(x, batch, saved, grads, d, workspace, masks);
  }
};

template <class Block>
std::vector<Parameter> parameters_of(Block& block) {
  return test::collect([&](auto visit) { block.each_parameter(block, "block", visit); });
}

/// Output, gradient of the input and gradients of parameters, one after the other, of passes over so many images each.
template <class Case>
std::vector<float> results_of(const typename Case::Block& block, std::span<const Index> images, Index threads) {
  constexpr Index row = Case::tokens * Case::dim;
  const std::vector<float> x = test::normal_values(Case::images * row, 8);
  std::vector<float> y(x.size()), d = test::normal_values(Case::images * row, 9), room(x.size());
  BlockMasks masks = Drop{{.dropout = 0.2, .stochastic_depth = 0.3}, 5}.block(0, 1, Case::tokens, false);
  masks.room = room.data();
  ThreadPool pool(threads);
  Workspace workspace(Case::scratch(), pool);
  typename Case::Block grads;
  const std::vector<Parameter> sums = parameters_of(grads);
  set_to_zero(sums);
  Index first = 0;
  for (const Index count : images) {
    const auto rows_of = [&](auto view) { return view.rows_of(first * Case::tokens, count * Case::tokens); };
    const Index rows = Case::images * Case::tokens;
    Arena memory(Case::saved_bytes(count));
    Case::pass(block, rows_of(ConstMatrixView(x.data(), rows, Case::dim)), count,
               rows_of(MatrixView(y.data(), rows, Case::dim)), grads, rows_of(MatrixView(d.data(), rows, Case::dim)),
               memory, workspace, masks.from(first * Case::tokens, Case::dim));
    first += count;
  }
  std::vector<float> all = y;
  all.insert(all.end(), d.begin(), d.end());
  const std::vector<float> gradients = test::values_of(sums);
  all.insert(all.end(), gradients.begin(), gradients.end());
  return all;
}

template <class Case>
void check_parts() {
  typename Case::Block block;
  test::randomise(parameters_of(block), 1);
  const Index all[] = {Case::images};
  const std::vector<float> whole = results_of<Case>(block, all, 1);
  for (const Index threads : {2, 3}) CHECK(test::same_bits(whole, results_of<Case>(block, all, threads)));
  CHECK(test::same_bits(whole, results_of<Case>(block, Case::parts, 1)));
  CHECK_FALSE(test::same_bits(whole, results_of<Case>(block, Case::others, 1)));  // sums in another order
}

}  // namespace

TEST_CASE("training passes of a dense block take images in nearly equal parts") { check_parts<TokenCase>(); }

TEST_CASE("training passes of a dense block of maps take images in nearly equal parts") { check_parts<MapCase>(); }
