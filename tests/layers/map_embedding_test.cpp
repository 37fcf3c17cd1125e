#include "gradient_check.hpp"
#include "layers/layer_test.hpp"

#include <moevit/layers/map_patch_embedding.hpp>
#include <moevit/layers/patch_merging.hpp>
#include <moevit/train/parameter_runs.hpp>

using namespace moevit;

namespace {

constexpr MapPatchConfig plain{.patch = 3, .channels = 2, .dim = 10};
constexpr MapPatchConfig placed{.patch = 2, .channels = 3, .dim = 9, .norm = false, .positions = {3, 4}};
constexpr PatchMergingConfig merging{.dim = 6, .result_dim = 12};

template <class Layer>
std::vector<Parameter> parameters_of(Layer& layer) {
  return test::collect([&](auto visit) { Layer::each_parameter(layer, "layer", visit); });
}
template <class Layer>
Layer random_layer() {
  Layer layer;
  test::randomise(parameters_of(layer), 5);
  return layer;
}

template <class Layer>
std::vector<float> run(const Layer& layer, const std::vector<float>& x, MapSize map, Index images,
                       Workspace& workspace) {
  const Index rows = images * Layer::result_size(map).places();
  std::vector<float> y(static_cast<std::size_t>(rows * Layer::output_width));
  layer.forward({x.data(), images * map.places(), Layer::input_width}, map, images,
                {y.data(), rows, Layer::output_width}, workspace);
  return y;
}

/// x of the place (y, column), zeros outside the map.
double value_at(const std::vector<float>& x, MapSize map, Index image, Index y, Index column, Index channel,
                Index width) {
  if (y >= map.height || column >= map.width) return 0;
  return x[static_cast<std::size_t>(((image * map.height + y) * map.width + column) * width + channel)];
}

reference::Matrix expected_merging(const reference::Weights& weights, const std::vector<float>& x, MapSize map,
                                   Index images) {
  const Index height = (map.height + 1) / 2, width = (map.width + 1) / 2, dim = merging.dim;
  reference::Matrix joined(images * height * width, 4 * dim);
  for (Index row = 0; row < joined.rows; ++row) {
    const Index image = row / (height * width), y = row / width % height, column = row % width;
    const std::pair<Index, Index> order[] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}};
    for (Index part = 0; part < 4; ++part)
      for (Index i = 0; i < dim; ++i)
        joined(row, part * dim + i) =
            value_at(x, map, image, 2 * y + order[part].first, 2 * column + order[part].second, i, dim);
  }
  return weights.linear(weights.layer_norm(joined, "layer.norm", VitConfig{.epsilon = merging.epsilon}),
                        "layer.reduction");
}

template <MapPatchConfig config>
reference::Matrix expected_patches(const reference::Weights& weights, const std::vector<float>& x, MapSize map,
                                   Index images) {
  constexpr Index side = config.patch, channels = config.channels;
  const Index height = (map.height + side - 1) / side, width = (map.width + side - 1) / side;
  reference::Matrix patches(images * height * width, side * side * channels);
  for (Index row = 0; row < patches.rows; ++row) {
    const Index image = row / (height * width), y = row / width % height * side, column = row % width * side;
    for (Index i = 0; i < patches.cols; ++i) {
      const Index pixel = i / channels;
      patches(row, i) = value_at(x, map, image, y + pixel / side, column + pixel % side, i % channels, channels);
    }
  }
  // The kernel is patch x patch x channels x dim: the same rows as a matrix.
  const reference::Matrix y = weights.linear(patches, "layer.projection");
  constexpr VitConfig norm{.epsilon = config.epsilon};
  return config.norm ? weights.layer_norm(y, "layer.norm", norm) : y;
}

template <class Layer, class Expected>
void check_forward(Index images, MapSize map, Expected expected) {
  CAPTURE(images, map.height, map.width);
  Layer layer = random_layer<Layer>();
  const std::vector<Parameter> parameters = parameters_of(layer);
  const std::vector<float> x = test::normal_values(images * map.places() * Layer::input_width, 2);
  const std::vector<float> found = test::run_with_threads(
      Layer::scratch(images, map), [&](Workspace& workspace) { return run(layer, x, map, images, workspace); });
  const reference::Matrix want = expected(reference::Weights(parameters), x, map, images);
  CHECK(reference::relative_error({found.data(), want.rows, want.cols}, want) <
        reference::rounding_tolerance(4 * want.cols, 3));
}

template <class Layer>
struct Gradients {
  std::vector<float> dx, parameters;

  Gradients(const Layer& layer, const std::vector<float>& x, const std::vector<float>& weights, MapSize map,
            Index images, Workspace& workspace)
      : dx(x.size(), 7.f) {
    Layer grads;
    set_to_zero(parameters_of(grads));
    const Index rows = images * Layer::result_size(map).places();
    const MatrixView d(dx.data(), images * map.places(), Layer::input_width);
    layer.backward({x.data(), d.rows(), d.cols()}, map, images, {weights.data(), rows, Layer::output_width}, grads, d,
                   workspace);
    for (const Parameter& parameter : parameters_of(grads)) {
      const std::vector<float> values = parameter.values();
      parameters.insert(parameters.end(), values.begin(), values.end());
    }
  }
};

template <class Layer>
void check_gradients(Index images, MapSize map) {
  CAPTURE(images, map.height, map.width);
  Layer layer = random_layer<Layer>();
  const std::vector<float> x = test::normal_values(images * map.places() * Layer::input_width, 2);
  const std::vector<float> weights =
      test::normal_values(images * Layer::result_size(map).places() * Layer::output_width, 3);
  const ScratchBytes scratch = Layer::training_scratch(images, map);
  Workspace workspace(scratch);
  const Gradients<Layer> found(layer, x, weights, map, images, workspace);
  test::run_with_threads(scratch, [&](Workspace& other) {
    const Gradients<Layer> same(layer, x, weights, map, images, other);
    CHECK(same.dx == found.dx);
    return same.parameters;
  });
  const auto loss = [&](std::span<const float> values) {
    const std::vector<float> y = run(layer, {values.begin(), values.end()}, map, images, workspace);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += double{y[i]} * double{weights[i]};
    return sum;
  };
  unsigned seed = 60;
  test::check_gradient({.name = "x", .values = x, .gradient = found.dx, .function = loss}, seed++);
  std::size_t first = 0;
  for (const Parameter& parameter : parameters_of(layer)) {
    const std::vector<float> values = parameter.values();
    const auto begin = found.parameters.begin() + static_cast<std::ptrdiff_t>(first);
    first += values.size();
    const auto moved_loss = [&](std::span<const float> moved) {
      parameter.assign(moved);
      return loss(x);
    };
    test::check_gradient({.name = parameter.name,
                          .values = values,
                          .gradient = {begin, begin + std::ssize(values)},
                          .function = moved_loss},
                         seed++);
    parameter.assign(values);
  }
}

}  // namespace

TEST_CASE("patch merging agrees with plain loops, odd sides are padded") {
  for (const MapSize map : {MapSize{4, 6}, MapSize{5, 3}, MapSize{1, 1}, MapSize{2, 7}})
    for (const Index images : {0, 1, 3}) check_forward<PatchMerging<merging>>(images, map, expected_merging);
}

TEST_CASE("patches of images of any size agree with plain loops") {
  for (const MapSize map : {MapSize{6, 9}, MapSize{7, 4}, MapSize{1, 1}})
    for (const Index images : {0, 1, 3}) check_forward<MapPatchEmbedding<plain>>(images, map, expected_patches<plain>);
}

TEST_CASE("absolute positions are added, and resampled for other sizes of images") {
  const auto layer = random_layer<MapPatchEmbedding<placed>>();
  auto zero = layer;
  const Parameter table = parameters_of(zero).back();
  REQUIRE(table.name == "layer.position_embedding");
  const std::vector<float> rows = table.values();
  table.assign(std::vector<float>(rows.size()));
  const auto difference = [&](MapSize image) {
    Workspace workspace(MapPatchEmbedding<placed>::scratch(2, image));
    const std::vector<float> x = test::normal_values(2 * image.places() * placed.channels, 2);
    std::vector<float> y = run(layer, x, image, 2, workspace);
    const std::vector<float> without = run(zero, x, image, 2, workspace);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] -= without[i];
    return y;
  };
  const std::vector<float> same = difference({6, 8});
  for (std::size_t i = 0; i < same.size(); ++i) CHECK(same[i] == Approx(rows[i % rows.size()]).margin(1e-5));
  // One place: at the centre of 3 x 4 the taps are rows -1 ... 2 and columns 0 ... 3 with the weights below.
  const std::vector<float> one = difference({1, 2});
  const double down[] = {0, 1, 0}, across[] = {-0.09375, 0.59375, 0.59375, -0.09375};
  for (std::size_t i = 0; i < 9; ++i) {
    double sum = 0;
    for (std::size_t y = 0; y < 3; ++y)
      for (std::size_t x = 0; x < 4; ++x) sum += down[y] * across[x] * double{rows[(y * 4 + x) * 9 + i]};
    CHECK(one[i] == Approx(sum).margin(1e-5));
  }
}

TEST_CASE("gradients of embeddings of maps are those of differences, with the same bits for any threads") {
  for (const MapSize map : {MapSize{4, 6}, MapSize{5, 3}, MapSize{1, 1}}) {
    check_gradients<PatchMerging<merging>>(2, map);
    check_gradients<MapPatchEmbedding<plain>>(2, map);
    check_gradients<MapPatchEmbedding<placed>>(2, map);
  }
  check_gradients<MapPatchEmbedding<placed>>(2, {6, 8});
}
