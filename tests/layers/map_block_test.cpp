// Blocks of maps take some images after the others: that must not show.
#include "catch.hpp"
#include "random_values.hpp"
#include "same_bits.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/layers/map_block.hpp>
#include <moevit/layers/window_attention.hpp>

using namespace moevit;

namespace {

constexpr Index dim = 16, images = 3;
constexpr MapSize map{90, 90};  // on one worker one image at a time, on two all of them
constexpr WindowAttentionConfig config{.dim = dim, .heads = 2, .window = 7, .shift = 3};
using Block = DenseMapBlock<WindowAttention<config>, Mlp<dim, 8>>;

std::vector<float> run(const Block& block, std::vector<float> stream, Index threads) {
  ThreadPool pool(threads);
  const Index count = std::ssize(stream) / (map.places() * dim);
  Workspace workspace(Block::scratch(count, map), pool);
  block.forward({stream.data(), count * map.places(), dim}, {count, map, 1}, workspace);
  return stream;
}

}  // namespace

TEST_CASE("a block of maps gives an image the same bits whatever number of images it takes at a time") {
  Block block;
  std::vector<Parameter> parameters;
  Block::each_parameter(block, "block", CollectParameters<float>{parameters});
  test::randomise(parameters, 1);
  const std::vector<float> x = test::normal_values(images * map.places() * dim, 2);
  const std::vector<float> together = run(block, x, 1);
  CHECK(test::same_bits(together, run(block, x, 2)));
  const auto size = static_cast<Index>(map.places() * dim);
  for (Index image = 0; image < images; ++image) {
    const std::vector<float> alone(x.begin() + image * size, x.begin() + (image + 1) * size);
    CHECK(test::same_bits(run(block, alone, 1), std::span(together).subspan(static_cast<std::size_t>(image * size),
                                                                            static_cast<std::size_t>(size))));
  }
}
