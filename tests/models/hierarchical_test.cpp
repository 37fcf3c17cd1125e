// Hierarchical models: maps of images of any size, their gradients, and the promises of all models for both.
#include "catch.hpp"
#include "gradient_check.hpp"
#include "models/allocation_counter.hpp"
#include "models/training_passes.hpp"

namespace {

using namespace small_models;

constexpr SwinConfig backbone_config{.image = 8,
                                     .patch = 2,
                                     .channels = 2,
                                     .dim = 6,
                                     .depths = {2, 1, 1},
                                     .heads = {1, 2, 3},
                                     .window = 3,
                                     .classes = 0,
                                     .form = WindowForm::pad,
                                     .output_norms = {true, false, true},
                                     .absolute_positions = true};
struct Backbone : Swin<backbone_config> {};
struct SparseBackbone : Swin<backbone_config, MoeConfig{.experts = 3, .selected = 2, .placement = blocks({1, 3})}> {};

/// One matrix per stage; `wanted` stages have rows.
template <class Net>
struct Maps {
  std::vector<std::vector<float>> values;
  std::vector<MatrixView> views;

  Maps(MapSize image, Index images, unsigned seed = 0, std::array<bool, 3> wanted = {true, true, true}) {
    const auto sizes = Net::map_sizes(image);
    for (Index stage = 0; stage < Net::stages; ++stage) {
      const auto i = static_cast<std::size_t>(stage);
      const Index rows = wanted[i] ? images * sizes[i + 1].places() : 0, dim = Net::config.stage_dim(stage);
      values.push_back(seed ? test::normal_values(rows * dim, seed + unsigned(i))
                            : std::vector<float>(static_cast<std::size_t>(rows * dim)));
      views.emplace_back(values.back().data(), rows, dim);
    }
  }
  std::vector<ConstMatrixView> const_views() const { return {views.begin(), views.end()}; }
};

template <class Net>
std::vector<float> images_of(MapSize size, Index count, unsigned seed = 5) {
  return test::normal_values(count * size.places() * Net::config.channels, seed);
}

template <class Net>
Maps<Net> run_maps(const Net& net, const std::vector<float>& images, MapSize size, Index count, Index threads = 1) {
  Maps<Net> maps(size, count);
  Context context = net.context({.images = std::max<Index>(count, 1), .threads = threads}, size);
  net.forward_maps(images, size, maps.views, context);
  return maps;
}

/// Values and gradients of a training pass, gradients of parameters one after the other.
template <class Net>
struct MapPass {
  Maps<Net> maps, weights;
  Net gradients = zeros<Net>();
  std::vector<float> d_images;

  MapPass(const Net& net, const std::vector<float>& images, MapSize size, Index count, BackpropagationOptions options,
          std::array<bool, 3> wanted = {true, true, true})
      : maps(size, count, 0, wanted), weights(size, count, 9, wanted), d_images(images.size()) {
    Backpropagation run(net, options);
    run.forward_maps(net, images, size, maps.views);
    run.backward_maps(net, weights.const_views(), gradients, d_images);
  }
};

constexpr std::array sizes{MapSize{8, 8}, MapSize{13, 10}, MapSize{1, 1}, MapSize{2, 17}};

/// The softmax does not see the keys' bias: its slope is 0, and differences are rounding.
constexpr double key_bias_tolerance = 0.1;

template <class Visit>
void for_both(Visit visit) {
  visit(moved(random_model<Backbone>()));
  visit(moved(random_model<SparseBackbone>()));
}

}  // namespace

TEST_CASE("maps have the same bits for any threads, batch sizes and places, and in training passes") {
  for_both([]<class Net>(const Net& net) {
    for (const MapSize size : sizes) {
      CAPTURE(size.height, size.width);
      const std::vector<float> images = images_of<Net>(size, 3);
      const Maps<Net> all = run_maps(net, images, size, 3);
      for (const Index threads : {2, 3}) CHECK(run_maps(net, images, size, 3, threads).values == all.values);
      CHECK(MapPass<Net>(net, images, size, 3, {.images = 4, .largest = {17, 17}}).maps.values == all.values);
      const std::size_t each = images.size() / 3;
      for (std::size_t image = 0; image < 3; ++image) {
        const auto begin = images.begin() + static_cast<std::ptrdiff_t>(image * each);
        const Maps<Net> alone = run_maps(net, {begin, begin + static_cast<std::ptrdiff_t>(each)}, size, 1);
        for (std::size_t stage = 0; stage < 3; ++stage) {
          const std::vector<float>& own = alone.values[stage];
          CHECK(std::equal(own.begin(), own.end(),
                           all.values[stage].begin() + static_cast<std::ptrdiff_t>(image * own.size())));
        }
      }
    }
  });
}

TEST_CASE("gradients of maps are those of differences, with the same bits for any threads and with checkpoints") {
  for_both([]<class Net>(Net net) {
    for (const MapSize size : sizes)
      for (const std::array<bool, 3> wanted : {std::array{true, true, true}, std::array{true, false, false}}) {
        CAPTURE(size.height, size.width, wanted[1]);
        const std::vector<float> images = images_of<Net>(size, 2);
        const MapPass<Net> pass(net, images, size, 2, {.images = 2, .largest = size}, wanted);
        const MapPass<Net> threads(net, images, size, 2, {.images = 3, .threads = 3, .largest = {17, 17}}, wanted);
        const MapPass<Net> again(net, images, size, 2, {.images = 2, .checkpoint = true, .largest = size}, wanted);
        CHECK(values_of(threads.gradients) == values_of(pass.gradients));
        CHECK(values_of(again.gradients) == values_of(pass.gradients));
        CHECK(again.d_images == pass.d_images);
        if (!wanted[1]) continue;  // differences of the images below, with all maps
        std::vector<int> before, after;
        const auto loss = [&](std::span<const float> moved_images) {
          Maps<Net> maps(size, 2);
          Context context = net.context({.images = 2}, size);
          net.forward_maps(moved_images, size, maps.views, context);
          before = std::exchange(after, choices_of(context));
          double sum = 0;
          for (std::size_t stage = 0; stage < 3; ++stage)
            for (std::size_t i = 0; i < maps.values[stage].size(); ++i)
              sum += double{maps.values[stage][i]} * double{pass.weights.values[stage][i]};
          return sum;
        };
        const auto is_smooth = [&] { return before == after; };
        test::check_gradient(
            {.name = "images", .values = images, .gradient = pass.d_images, .function = loss, .is_smooth = is_smooth},
            70);
        const std::vector<Parameter> parameters = net.parameters();
        const std::vector<ConstParameter> gradients = std::as_const(pass.gradients).parameters();
        for (std::size_t i = 0; i<parameters.size(); i += size.places()> 20 ? 1 : 7) {
          const std::vector<float> values = parameters[i].values();
          test::check_gradient({.name = parameters[i].name,
                                .values = values,
                                .gradient = gradients[i].values(),
                                .function =
                                    [&](std::span<const float> moved_values) {
                                      parameters[i].assign(moved_values);
                                      return loss(images);
                                    },
                                .is_smooth = is_smooth,
                                .tolerance = parameters[i].name.ends_with("key.bias") ? key_bias_tolerance : 0.02},
                               100 + unsigned(i));
          parameters[i].assign(values);
        }
      }
  });
}

TEST_CASE("maps: no images, and sizes that do not fit") {
  const Backbone net = random_model<Backbone>();
  const MapSize size{6, 5};
  CHECK_NOTHROW(run_maps(net, {}, size, 0));
  std::vector<float> images = images_of<Backbone>(size, 2);
  Maps<Backbone> maps(size, 2), few(size, 1);
  Context context = net.context({.images = 2}, size);
  CHECK_THROWS_WITH(net.forward_maps(std::span(images).first(7), size, maps.views, context),
                    Catch::Contains("multiple of 60 values (6 x 5 x 2)"));
  CHECK_THROWS_WITH(net.forward_maps(images, size, few.views, context),
                    Catch::Contains("map of stage 0: expected 18 x 6 values, found 9 x 6"));
  CHECK_THROWS_WITH(net.forward_maps(images, size, std::span(maps.views).first(2), context),
                    Catch::Contains("each of 3 stages, found 2"));
  CHECK_THROWS_WITH(net.forward_maps({}, {0, 5}, maps.views, context), Catch::Contains("at least 1 x 1"));
  Backpropagation run(net, {.images = 2, .largest = {4, 4}});
  CHECK_THROWS_WITH(run.forward_maps(net, images, size, maps.views),
                    Catch::Contains("reserved for 2 of 4 x 4, found 2 of 6 x 5"));
  Backpropagation larger(net, {.images = 2, .largest = {8, 8}});
  larger.forward_maps(net, images, size, maps.views);
  Backbone gradients = zeros<Backbone>();
  CHECK_THROWS_WITH(larger.backward_maps(net, few.const_views(), gradients), Catch::Contains("map of stage 0"));
  CHECK_THROWS_WITH(larger.backward_maps(net, maps.const_views(), gradients, std::span(images).first(3)),
                    Catch::Contains("room for 120 values"));
}

TEST_CASE("passes over maps allocate nothing up to the largest size") {
  if (!allocation_counter::available()) return;
  const SparseBackbone net = moved(random_model<SparseBackbone>());
  SparseBackbone gradients = zeros<SparseBackbone>();
  const MapSize size{9, 12};
  const std::vector<float> images = images_of<SparseBackbone>(size, 2);
  Maps<SparseBackbone> maps(size, 2), weights(size, 2, 9);
  const std::vector<ConstMatrixView> d_maps = weights.const_views();
  Context context = net.context({.images = 2}, {12, 12});
  allocation_counter::start();
  net.forward_maps(images, size, maps.views, context);
  CHECK(allocation_counter::stop() == 0);
  Backpropagation run(net, {.images = 2, .largest = {12, 12}});
  run.forward_maps(net, images, size, maps.views);
  run.backward_maps(net, d_maps, gradients);  // room for the plan's gradient
  allocation_counter::start();
  run.forward_maps(net, images, size, maps.views);
  CHECK(allocation_counter::stop() == 0);
}
