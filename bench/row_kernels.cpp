/// Softmax, layer norm, activations in the epilogue of a product, and the attention core.
#include "common.hpp"

#include <moevit/simd/attention.hpp>
#include <moevit/simd/layer_norm.hpp>

#include <memory>

namespace moevit::bench {
namespace {

struct Rows {
  Index rows, cols;
  std::vector<std::vector<float>> x = random_inputs(rows * cols);
  AlignedBuffer<float> y{rows * cols};

  Rows(Index row_count, Index col_count) : rows(row_count), cols(col_count) {}

  Work work() const { return {.bytes = static_cast<double>(2 * rows * cols) * sizeof(float)}; }
  const float* x_row(Index input, Index row) const { return x[static_cast<std::size_t>(input)].data() + row * cols; }
  ConstMatrixView result() const { return {y.data(), rows, cols}; }
  reference::Matrix input_matrix(Index input) const {
    return reference::Matrix(ConstMatrixView(x_row(input, 0), rows, cols));
  }
};

Case softmax(Index rows, Index cols) {
  const auto data = std::make_shared<Rows>(rows, cols);
  const auto run = [data](Index input) {
    for (Index row = 0; row < data->rows; ++row)
      simd::softmax_row(data->x_row(input, row), data->cols, 0.125f, data->y.data() + row * data->cols);
    return data->work();
  };
  const auto check = [data](Index input) {
    reference::Matrix expected = data->input_matrix(input);
    for (Index row = 0; row < data->rows; ++row) reference::softmax_row(expected.row(row), data->cols, 0.125);
    require_close(data->result(), expected, reference::rounding_tolerance(1));
  };
  return {run, check};
}

Case layer_norm(Index rows, Index cols) {
  const auto data = std::make_shared<Rows>(rows, cols);
  const std::vector<float> scale = test::normal_values(cols, 5, 1.f, 0.2f), bias = test::normal_values(cols, 6);
  const auto run = [=](Index input) {
    for (Index row = 0; row < data->rows; ++row)
      simd::layer_norm_row(data->x_row(input, row), data->cols, scale.data(), bias.data(), 1e-6f,
                           data->y.data() + row * data->cols);
    return data->work();
  };
  const auto check = [=](Index input) {
    const reference::Matrix expected =
        reference::layer_norm(data->input_matrix(input), reference::to_double(scale), reference::to_double(bias), 1e-6);
    require_close(data->result(), expected, reference::rounding_tolerance(cols));
  };
  return {run, check};
}

/// The hidden layer of ViT-Tiny's MLP, 197 x 192 x 768, with an activation or without: the difference is the
/// activation.
Case product_with(const Activation* activation) {
  constexpr Index rows = 197, inner = 192, cols = 768;
  const auto data = std::make_shared<Rows>(rows, inner);
  const auto y = std::make_shared<AlignedBuffer<float>>(rows * cols);
  const std::vector<float> weights = test::normal_values(inner * cols, 2, 0.f, 0.07f);
  const auto panels = std::make_shared<AlignedBuffer<float>>(simd::packed_size(inner, cols));
  const simd::PackedView packed = simd::pack(weights.data(), cols, inner, cols, panels->data());
  const auto room = std::make_shared<AlignedBuffer<std::byte>>(rows * simd::tiled_row_bytes(inner));
  const auto bias = std::make_shared<AlignedBuffer<float>>(aligned(test::normal_values(cols, 3)));
  const auto run = [=](Index input) {
    const simd::RowTiles tiles = simd::tile_rows(rows, data->x_row(input, 0), inner, packed, room->data());
    simd::gemm(tiles, packed, {.bias = bias->data(), .activation = activation}, simd::RowsOut{y->data(), cols});
    return Work{.multiply_adds = static_cast<double>(rows * inner * cols)};
  };
  const auto check = [=, keep = panels](Index input) {
    reference::Matrix expected = reference::linear(
        data->input_matrix(input), {inner, cols, reference::to_double(weights)}, reference::to_double(bias->span()));
    if (activation)
      for (double& value : expected.values) value = reference::activate(*activation, value);
    require_close({y->data(), rows, cols}, expected, reference::rounding_tolerance(inner));
  };
  return {run, check};
}

/// Three heads of 64 over 197 tokens, packing of keys and values included.
Case attention_core() {
  constexpr Index tokens = 197, heads = 3, width = 64, stride = 3 * heads * width;
  const auto data = std::make_shared<Rows>(tokens, stride);
  const auto scratch = std::make_shared<AlignedBuffer<float>>(simd::attention_scratch(tokens, width));
  const auto y = std::make_shared<AlignedBuffer<float>>(tokens * heads * width);
  const auto run = [=](Index input) {
    for (Index head = 0; head < heads; ++head) {
      const float* query = data->x_row(input, 0) + head * width;
      const simd::AttentionHead core{query,  tokens, stride, query + heads * width, query + 2 * heads * width, tokens,
                                     stride, width,  0.125f};
      simd::attention_head(core, scratch->data(), y->data() + head * width, heads * width);
    }
    return Work{.multiply_adds = static_cast<double>(2 * heads * tokens * tokens * width)};
  };
  const auto check = [=](Index input) {
    const reference::Matrix all = data->input_matrix(input);
    for (Index head = 0; head < heads; ++head) {
      const auto part = [&](Index which) { return all.cols_of((which * heads + head) * width, width); };
      require_close({y->data() + head * width, tokens, width, heads * width},
                    reference::attention_head(part(0), part(1), part(2), 0.125),
                    reference::rounding_tolerance(tokens + width, 2));
    }
  };
  return {run, check};
}

const bool added = [] {
  static constexpr Activation gelu_tanh = Activation::gelu_tanh, gelu_erf = Activation::gelu_erf;
  add("softmax/591x197", [] { return softmax(591, 197); });
  add("layer_norm/197x192", [] { return layer_norm(197, 192); });
  add("epilogue/197x192x768/bias", [] { return product_with(nullptr); });
  add("epilogue/197x192x768/gelu_tanh", [] { return product_with(&gelu_tanh); });
  add("epilogue/197x192x768/gelu_erf", [] { return product_with(&gelu_erf); });
  add("attention_core/197x64x3", [] { return attention_core(); });
  return true;
}();

}  // namespace
}  // namespace moevit::bench
