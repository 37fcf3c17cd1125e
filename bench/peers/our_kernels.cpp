/// Kernels of ours: products, and row kernels on the shapes of ViT-Tiny, each as a pass of its own so that it can be
/// compared with one.
#include "our_case.hpp"
#include "our_gemm.hpp"

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/layers/linear.hpp>
#include <moevit/simd/attention.hpp>
#include <moevit/simd/layer_norm.hpp>

#include <array>
#include <sstream>

namespace moevit::bench {
namespace {

constexpr Index tokens = 197, heads = 3, head_width = 64, dim = heads * head_width, hidden = 4 * dim;

OurCase row_case(Index rows, Index cols, std::function<void(const float*, float*)> run_row) {
  OurCase made;
  made.input_values = made.output_values = rows * cols;
  made.run = [=](std::span<const float> x, std::span<float> y) {
    for (Index row = 0; row < rows; ++row) run_row(x.data() + row * cols, y.data() + row * cols);
  };
  made.cost = [=] { return Cost{0., static_cast<double>(2 * rows * cols) * sizeof(float)}; };
  return made;
}

OurCase softmax_case() {
  constexpr Index cols = tokens;
  return row_case(heads * tokens, cols, [](const float* x, float* y) { simd::softmax_row(x, cols, 1.f, y); });
}

OurCase layer_norm_case() {
  const auto norm = std::make_shared<std::array<AlignedBuffer<float>, 2>>(
      std::array<AlignedBuffer<float>, 2>{padded_vector(dim), padded_vector(dim)});
  OurCase made = row_case(tokens, dim, [norm](const float* x, float* y) {
    simd::layer_norm_row(x, dim, (*norm)[0].data(), (*norm)[1].data(), 1e-6f, y);
  });
  made.parameters = {plain_parameter<float>("scale", (*norm)[0].data(), {dim}, Role::norm),
                     plain_parameter<float>("bias", (*norm)[1].data(), {dim}, Role::norm)};
  test::randomise(made.parameters, 7);
  return made;
}

/// In the library it is never a pass of its own, but part of the product before it.
OurCase gelu_case() {
  using Arch = simd::DefaultArch;
  static_assert(hidden % simd::lanes<Arch> == 0);
  return row_case(tokens, hidden, [](const float* x, float* y) {
    for (Index i = 0; i < hidden; i += simd::lanes<Arch>)
      simd::activate<Activation::gelu_tanh, Arch>(simd::Batch<Arch>::load_unaligned(x + i)).store_unaligned(y + i);
  });
}

/// softmax(q k^T / 8) v for three heads, from rows that hold queries, keys and values side by side.
OurCase attention_case() {
  constexpr Index stride = 3 * dim;
  const auto scratch = std::make_shared<AlignedBuffer<float>>(simd::attention_scratch(tokens, head_width));
  OurCase made;
  made.input_values = tokens * stride;
  made.output_values = tokens * dim;
  made.run = [scratch](std::span<const float> x, std::span<float> y) {
    for (Index head = 0; head < heads; ++head) {
      const float* query = x.data() + head * head_width;
      const simd::AttentionHead core{query,  tokens, stride,     query + dim, query + 2 * dim,
                                     tokens, stride, head_width, 0.125f};
      simd::attention_head(core, scratch->data(), y.data() + head * head_width, dim);
    }
  };
  made.cost = [] {
    return Cost{static_cast<double>(2 * tokens * tokens * dim), static_cast<double>(4 * tokens * dim) * sizeof(float)};
  };
  return made;
}

/// "gemm_MxKxN": a product with packed weights.
OurCase product_case(const std::string& name) {
  std::istringstream text(name.substr(name.find('_') + 1));
  Index rows = 0, inner = 0, cols = 0;
  char times = 0;
  if (!(text >> rows >> times >> inner >> times >> cols) || rows < 1 || inner < 1 || cols < 1)
    fail(name, ": expected gemm_ROWSxINNERxCOLS");
  const std::vector<float> weights = test::normal_values(inner * cols, 2);
  const auto gemm = std::make_shared<OurGemm>(inner, cols, weights.data());
  OurCase made;
  made.input_values = rows * inner;
  made.output_values = rows * cols;
  made.run = [=](std::span<const float> x, std::span<float> y) { gemm->run(rows, x.data(), y.data()); };
  made.cost = [=] {
    const auto moved = static_cast<double>(rows * inner + inner * cols + rows * cols);
    return Cost{static_cast<double>(rows * inner * cols), moved * sizeof(float)};
  };
  return made;
}

}  // namespace

bool make_kernel(const Request& request, OurCase& made) {
  if (request.name == "softmax")
    made = softmax_case();
  else if (request.name == "layer_norm")
    made = layer_norm_case();
  else if (request.name == "gelu")
    made = gelu_case();
  else if (request.name == "attention_core")
    made = attention_case();
  else if (request.name.starts_with("gemm_"))
    made = product_case(request.name);
  else
    return false;
  if (request.precision != "fp32") refuse_precision(request);
  if (request.threads != 1) fail(request.name, ": expected one thread, found ", request.threads);
  return true;
}

}  // namespace moevit::bench
