#include "layers/layer_test.hpp"

#include <moevit/layers/patch_embedding.hpp>

using namespace moevit;

namespace {

constexpr VitConfig square{.image = 12, .patch = 4, .dim = 10};
constexpr VitConfig rectangle{
    .image = 6, .patch = 2, .channels = 2, .dim = 16, .image_width = 20, .patch_width = 5, .head = Head::mean};
constexpr VitConfig fixed{.image = 8, .patch = 4, .dim = 16, .image_width = 12, .positions = Positions::sincos2d};
constexpr VitConfig unplaced{
    .image = 8, .patch = 4, .channels = 1, .dim = 9, .head = Head::map, .positions = Positions::none};
constexpr VitConfig many_patches{.image = 34, .patch = 2, .channels = 1, .dim = 8};  // more than one task takes

template <VitConfig config>
void check_embedding(std::size_t parameter_count) {
  CAPTURE(config.height(), config.width(), config.dim);
  constexpr Index images = 3;
  PatchEmbedding<config> embedding;
  const auto parameters = test::collect([&](auto visit) { embedding.each_parameter(embedding, visit); });
  CHECK(parameters.size() == parameter_count);
  CHECK(parameters[0].shape == Shape{config.patch_height(), config.patch_width_pixels(), config.channels, config.dim});
  test::randomise(parameters, 1);
  const std::vector<float> input = test::normal_values(images * config.image_values(), 9);
  const std::vector<float> found = test::run_with_threads(embedding.scratch(), [&](Workspace& workspace) {
    std::vector<float> stream(static_cast<std::size_t>(images * config.tokens() * config.dim), 77.f);
    embedding.forward(input, MatrixView(stream.data(), images * config.tokens(), config.dim), workspace);
    return stream;
  });
  const reference::Weights weights(parameters);
  for (Index image = 0; image < images; ++image) {
    const auto values = static_cast<std::size_t>(config.image_values());
    const reference::Matrix expected = reference::patch_embedding(
        std::span(input).subspan(static_cast<std::size_t>(image) * values, values), weights, config);
    const ConstMatrixView tokens(found.data() + image * config.tokens() * config.dim, config.tokens(), config.dim);
    CHECK(reference::relative_error(tokens, expected) < reference::rounding_tolerance(config.patch_values()));
  }
}

}  // namespace

TEST_CASE("PatchEmbedding agrees with plain loops") {
  check_embedding<square>(4);
  check_embedding<rectangle>(3);
  check_embedding<fixed>(3);
  check_embedding<unplaced>(2);
  check_embedding<many_patches>(4);
}

TEST_CASE("sincos2d positions of a 1 x 2 grid of width 8") {
  std::vector<float> table(16);
  fill_sincos2d(1, 2, 8, table.data());
  // Frequencies 1 and 1/10000; column 0 then column 1, both in row 0.
  const double small = 1e-4;
  const std::vector<double> expected{
      0, 0, 1, 1, 0, 0, 1, 1, std::sin(1.), std::sin(small), std::cos(1.), std::cos(small), 0, 0, 1, 1};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(table[i] == Approx(expected[i]).margin(1e-9));
}
