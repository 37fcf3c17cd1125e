#include "layers/convolutional_reference.hpp"

using namespace moevit;
using test::MapCase;

namespace {

template <ConvolutionalAttentionConfig config>
struct Checker {
  using Layer = ConvolutionalAttention<config>;
  using Norm = LayerNorm<config.dim>;
  static constexpr Index dim = config.dim;

  struct Pair {
    Layer attention;
    Norm norm;
    std::vector<Parameter> parameters() {
      return test::collect([&](auto visit) {
        Layer::each_parameter(attention, "a", visit);
        Norm::each_parameter(norm, "norm", visit);
      });
    }
  };

  Pair layer;
  MapCase maps;
  Index rows;
  std::vector<float> x, d;

  explicit Checker(const MapCase& map_case)
      : maps(map_case), rows(maps.images * (config.class_tokens + maps.size.places())) {
    test::randomise(layer.parameters(), 1);
    x = test::normal_values(rows * dim, 7), d = test::normal_values(rows * dim, 8);
  }

  reference::Matrix expected(std::span<const float> stream, const reference::Weights& weights,
                             NormStatistics statistics) const {
    const reference::Matrix input(rows, dim, reference::to_double(stream));
    const reference::Matrix normed = reference::layer_norm(input, weights["norm.scale"], weights["norm.bias"], 1e-5);
    return reference::add(
        input, reference::convolutional_attention(normed, config, maps.images, maps.size, weights, "a", statistics));
  }

  void forward() {
    CAPTURE(dim, config.class_tokens, maps.images, maps.size.height);
    const std::vector<float> y =
        test::run_with_threads(Layer::scratch(maps.images, maps.size), [&](Workspace& workspace) {
          std::vector<float> stream = x;
          layer.attention.forward(layer.norm, {stream.data(), rows, dim}, maps.size, nullptr, workspace, 0);
          return stream;
        });
    const auto want = expected(x, reference::Weights(layer.parameters()), NormStatistics::running);
    CHECK(reference::relative_error({y.data(), rows, dim}, want) < 5e-6);
    const Index own = maps.images > 0 ? rows / maps.images : 0;
    Workspace workspace(Layer::scratch(1, maps.size));
    for (Index image = 0; image < maps.images; ++image) {
      std::vector<float> alone(x.begin() + image * own * dim, x.begin() + (image + 1) * own * dim);
      layer.attention.forward(layer.norm, {alone.data(), own, dim}, maps.size, nullptr, workspace, 0);
      CHECK(std::equal(alone.begin(), alone.end(), y.begin() + image * own * dim));
    }
  }

  /// Output, gradient of x and gradients of all parameters, one after the other.
  std::vector<float> train(Workspace& workspace) {
    Arena memory(Layer::saved_bytes(maps.images, maps.size));
    const typename Layer::Saved saved = Layer::take_saved(maps.images, maps.size, memory);
    std::vector<float> y(x.size()), dx = d;
    layer.attention.forward_saved(layer.norm, {x.data(), rows, dim}, maps.size, nullptr, saved, {y.data(), rows, dim},
                                  workspace, 0);
    Pair grads;
    for (const Parameter& p : grads.parameters()) p.assign(std::vector<float>(static_cast<std::size_t>(p.size())));
    const MatrixView d_stream(dx.data(), rows, dim);
    layer.attention.backward(layer.norm, {x.data(), rows, dim}, maps.size, saved, d_stream, grads.attention, grads.norm,
                             d_stream, workspace, 0);
    y.insert(y.end(), dx.begin(), dx.end());
    for (const Parameter& p : grads.parameters()) {
      const std::vector<float> values = p.values();
      y.insert(y.end(), values.begin(), values.end());
    }
    return y;
  }

  void gradients() {
    CAPTURE(dim, config.class_tokens, maps.images, maps.size.height, config.statistics == NormStatistics::batch);
    const std::vector<float> all = test::run_with_threads(Layer::training_scratch(maps.images, maps.size),
                                                          [&](Workspace& workspace) { return train(workspace); });
    const auto want = expected(x, reference::Weights(layer.parameters()), config.statistics);
    CHECK(reference::relative_error({all.data(), rows, dim}, want) < 1e-5);
    const auto check = [&](const std::string& name, const std::vector<float>& values, std::vector<float> gradient,
                           auto function) {
      test::check_gradient({name, values, std::move(gradient), function, [] { return true; }, 1e-4, 2e-3}, 3);
    };
    check("x", x, {all.begin() + std::ssize(x), all.begin() + 2 * std::ssize(x)}, [&](std::span<const float> v) {
      return test::weighted_sum(expected(v, reference::Weights(layer.parameters()), config.statistics).values, d);
    });
    auto at = all.begin() + 2 * std::ssize(x);
    for (const Parameter& p : layer.parameters()) {
      const std::vector<float> values = p.values(), gradient(at, at + p.size());
      at += p.size();
      if (p.role == Role::statistics) {
        CHECK(gradient == std::vector<float>(values.size(), 0.f));
        continue;
      }
      check(p.name, values, gradient, [&](std::span<const float> v) {
        p.assign(v);
        const double loss =
            test::weighted_sum(expected(x, reference::Weights(layer.parameters()), config.statistics).values, d);
        p.assign(values);
        return loss;
      });
    }
  }
};

constexpr ConvolutionalAttentionConfig plain{.dim = 12, .heads = 3},
    with_token{.dim = 10, .heads = 1, .class_tokens = 1, .statistics = NormStatistics::running},
    batch_token{.dim = 16, .heads = 2, .class_tokens = 1, .qkv_bias = false},
    wide{.dim = 8,
         .heads = 2,
         .class_tokens = 2,
         .kernel = 5,
         .query_padding = 2,
         .key_value_stride = 1,
         .key_value_padding = 1,
         .statistics = NormStatistics::running};

template <ConvolutionalAttentionConfig config>
void check_all() {
  for (const MapCase& maps : test::map_cases) {
    if (config.kernel > std::min(maps.size.height, maps.size.width) + 2 * config.key_value_padding) continue;
    Checker<config>(maps).forward();
    // A norm over one place of one channel has no slope that a difference of floats could measure.
    if (config.statistics == NormStatistics::running || maps.size.places() > 1) Checker<config>(maps).gradients();
  }
}

}  // namespace

TEST_CASE("ConvolutionalAttention agrees with plain loops, forward and backward") {
  check_all<plain>();
  check_all<with_token>();
  check_all<batch_token>();
  check_all<wide>();
}
