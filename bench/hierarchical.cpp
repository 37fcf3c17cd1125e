/// Attention over maps, convolutions, heads of dense tasks, and hierarchical models.
#include "common.hpp"
#include "hierarchical/network.hpp"
#include "hierarchical_reference.hpp"
#include "models/reference_heads.hpp"

#include <memory>

namespace moevit::bench {
namespace {

using reference::cvt;
using reference::Maps;
using reference::Matrix;
using reference::swin;
using reference::Weights;

/// A network with its inputs and the output of the run before.
struct Run {
  Network network;
  Index images;
  std::vector<std::vector<float>> x = random_inputs(network.input_values);
  std::vector<float> y = std::vector<float>(static_cast<std::size_t>(network.output_values));

  Work run(Index input) {
    network.run(x[static_cast<std::size_t>(input)], y);
    return {.multiply_adds = network.multiply_adds};
  }
  /// One image per input, at another place in the batch each time.
  Index checked_image(Index input) const { return (input * 3 + images - 1) % images; }
  /// What belongs to that image where all images are alike.
  static std::span<const float> part(const std::vector<float>& all, Index images, Index image) {
    const std::size_t size = all.size() / static_cast<std::size_t>(images);
    return std::span(all).subspan(static_cast<std::size_t>(image) * size, size);
  }
  std::span<const float> image(Index input) const {
    return part(x[static_cast<std::size_t>(input)], images, checked_image(input));
  }
  std::span<const float> output(Index input) const { return part(y, images, checked_image(input)); }
};

/// expected(run, input): the output of the checked image, as a matrix.
template <class Expected>
Case case_of(Network network, Index images, double tolerance, Expected expected) {
  const auto run = std::make_shared<Run>(Run{std::move(network), images});
  const auto check = [run, tolerance, expected](Index input) {
    const Matrix wanted = expected(*run, input);
    require_close({run->output(input).data(), wanted.rows, wanted.cols}, wanted, tolerance);
  };
  return {[run](Index input) { return run->run(input); }, check};
}

Matrix matrix_of(std::span<const float> values, Index rows) {
  return {rows, std::ssize(values) / rows, reference::to_double(values)};
}

Case window_attention_case(Index stage, Index block, Index images) {
  constexpr SwinConfig swin_t;
  const MapSize map = swin_t.map(stage);
  const WindowAttentionConfig config{.dim = swin_t.stage_dim(stage),
                                     .heads = swin_t.stage_heads(stage),
                                     .window = swin_t.stage_window(stage),
                                     .shift = swin_t.stage_shift(stage)};
  const auto expected = [=](const Run& run, Index input) {
    const Weights weights(run.network.parameters);
    Matrix stream = matrix_of(run.image(input), map.places());
    const Matrix branch =
        reference::WindowAttention(config, weights, map, block % 2 == 1 ? config.shift : 0).run(stream);
    for (std::size_t i = 0; i < branch.values.size(); ++i) stream.values[i] += branch.values[i];
    return stream;
  };
  return case_of(window_attention(stage, block, {.images = images}), images,
                 reference::rounding_tolerance(config.dim, 3), expected);
}

Case convolutional_attention_case(Index stage, Index images) {
  constexpr CvtConfig cvt_13;
  const MapSize map = cvt_13.map(stage);
  const ConvolutionalAttentionConfig config{.dim = cvt_13.stage_dim(stage),
                                            .heads = CvtConfig::of(cvt_13.heads, stage),
                                            .class_tokens = cvt_13.class_tokens(stage)};
  const auto expected = [=](const Run& run, Index input) {
    const Weights weights(run.network.parameters);
    Matrix stream = matrix_of(run.image(input), map.places() + config.class_tokens);
    const Matrix normed = weights.layer_norm(stream, "norm", VitConfig{.epsilon = config.epsilon});
    const Matrix branch =
        reference::convolutional_attention(normed, config, 1, map, weights, "attention", NormStatistics::running);
    for (std::size_t i = 0; i < branch.values.size(); ++i) stream.values[i] += branch.values[i];
    return stream;
  };
  return case_of(convolutional_attention(stage, {.images = images}), images,
                 reference::rounding_tolerance(config.dim, 4), expected);
}

Case convolution_case(Index width, Index side, Index images) {
  const auto expected = [=](const Run& run, Index input) {
    const Maps x(1, {side, side}, width, run.image(input));
    return reference::convolution(x, Weights(run.network.parameters), "layer", {3, 1, 1}).matrix();
  };
  return case_of(convolution_3x3(width, side, {.images = images}), images, reference::rounding_tolerance(9 * width),
                 expected);
}

template <class Reference>
Case model_case(Network network, Index images, Reference reference) {
  const auto expected = [=](const Run& run, Index input) {
    return reference(run.image(input), Weights(run.network.parameters));
  };
  return case_of(std::move(network), images, reference::rounding_tolerance(3072, 16), expected);
}

constexpr std::array<Index, 4> map_sides{56, 28, 14, 7}, map_widths{96, 192, 384, 768};

/// The maps of one image.
std::vector<Maps> maps_of(const Run& run, Index input) {
  std::vector<Maps> maps;
  const float* next = run.x[static_cast<std::size_t>(input)].data();
  for (std::size_t i = 0; i < map_sides.size(); ++i) {
    const Index values = map_sides[i] * map_sides[i] * map_widths[i];
    maps.emplace_back(1, MapSize{map_sides[i], map_sides[i]}, map_widths[i],
                      std::span(next + run.checked_image(input) * values, static_cast<std::size_t>(values)));
    next += run.images * values;
  }
  return maps;
}

/// Plain loops take a while for it, so only the first input is compared.
Case upernet_case(Index images) {
  const auto run = std::make_shared<Run>(Run{upernet_head({.images = images}), images});
  const auto check = [run](Index input) {
    if (input != 0) return;
    const Maps expected = reference::upernet(maps_of(*run, input), Weights(run->network.parameters), 150, 32);
    require_close({run->output(input).data(), expected.size.places(), expected.channels}, expected.matrix(), 1e-4);
  };
  return {[run](Index input) { return run->run(input); }, check};
}

/// Rows of its outputs are in (level, image, place) order. Only the first input is compared, as above.
Case fcos_case(Index images) {
  const auto run = std::make_shared<Run>(Run{fcos_head({.images = images}), images});
  const auto check = [run](Index input) {
    if (input != 0) return;
    const reference::Values expected =
        reference::fcos(maps_of(*run, input), Weights(run->network.parameters), FcosConfig{}, 8.);
    constexpr std::array<Index, 5> places{784, 196, 49, 16, 4};
    constexpr Index classes = 80, all = 784 + 196 + 49 + 16 + 4;
    Index first = 0;
    for (const Index own : places) {
      const Index row = run->images * first + run->checked_image(input) * own;
      const auto compare = [&](Index start, Index columns, Index expected_start) {
        const double* values = expected.data() + expected_start + first * columns;
        require_close({run->y.data() + start + row * columns, own, columns},
                      {own, columns, {values, values + own * columns}}, 1e-4);
      };
      compare(0, classes, 0);
      compare(run->images * all * classes, 5, all * classes);
      first += own;
    }
  };
  return {[run](Index input) { return run->run(input); }, check};
}

const bool added = [] {
  for (const Index count : {1, 8}) {
    const std::string batch = "/B" + std::to_string(count);
    for (Index stage = 0; stage < 4; ++stage)
      for (Index block = 0; block < (stage < 3 ? 2 : 1); ++block)
        add("maps/" + std::string(block ? "shifted_" : "") + "window_attention/swin_t_stage" + std::to_string(stage) +
                batch,
            [=] { return window_attention_case(stage, block, count); });
    for (Index stage = 0; stage < 3; ++stage)
      add("maps/convolutional_attention/cvt_13_stage" + std::to_string(stage) + batch,
          [=] { return convolutional_attention_case(stage, count); });
    add("maps/convolution_3x3/256x28x28" + batch, [=] { return convolution_case(256, 28, count); });
    add("maps/convolution_3x3/512x14x14" + batch, [=] { return convolution_case(512, 14, count); });
    add("models/swin_t" + batch, [=] { return model_case(swin_tiny("fp32", {.images = count}), count, swin); });
    add("models/cvt_13" + batch, [=] { return model_case(cvt_13("fp32", {.images = count}), count, cvt); });
    add("heads/upernet_W512_224" + batch, [=] { return upernet_case(count); });
    add("heads/fcos_W256_224" + batch, [=] { return fcos_case(count); });
  }
  return true;
}();

}  // namespace
}  // namespace moevit::bench
