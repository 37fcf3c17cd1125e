/// The matrix product of a layer, at the shapes of small vision transformers, and Eigen's product beside it.
#include "common.hpp"

#include <moevit/simd/gemm.hpp>

#include <memory>

namespace moevit::bench {
namespace {

struct Shape {
  Index rows, inner, cols;
};

/// Tokens of ViT-Tiny, -Small and -Base through projections and MLPs, then the few rows that small experts get.
constexpr Shape shapes[] = {{197, 192, 768},  {197, 768, 192},  {197, 192, 576},  {197, 192, 192}, {197, 384, 1536},
                            {197, 1536, 384}, {197, 768, 3072}, {197, 3072, 768}, {50, 512, 2048}, {1, 192, 768},
                            {4, 192, 768},    {8, 192, 768},    {16, 192, 768},   {32, 192, 768},  {1, 384, 1536},
                            {4, 384, 1536},   {8, 384, 1536},   {16, 384, 1536},  {32, 384, 1536}};

struct Product {
  Shape shape;
  std::vector<std::vector<float>> x = random_inputs(shape.rows * shape.inner);
  std::vector<float> weights = test::normal_values(shape.inner * shape.cols, 2);
  AlignedBuffer<float> panels{simd::packed_size(shape.inner, shape.cols)};
  simd::PackedView packed = simd::pack(weights.data(), shape.cols, shape.inner, shape.cols, panels.data());
  AlignedBuffer<std::byte> room{shape.rows * simd::tiled_row_bytes(shape.inner)};
  AlignedBuffer<float> y{shape.rows * shape.cols};

  explicit Product(Shape s) : shape(s) {}

  Work work() const { return {.multiply_adds = static_cast<double>(shape.rows * shape.inner * shape.cols)}; }
  const float* x_data(Index input) const { return x[static_cast<std::size_t>(input)].data(); }
  /// As a layer does it: tiling the rows is part of the work.
  void multiply(Index input) {
    const simd::RowTiles tiles = simd::tile_rows(shape.rows, x_data(input), shape.inner, packed, room.data());
    simd::gemm(tiles, packed, {}, simd::RowsOut{y.data(), shape.cols});
  }
  ConstMatrixView result() const { return {y.data(), shape.rows, shape.cols}; }
  void check(Index input) const {
    const reference::Matrix expected =
        reference::multiply(reference::Matrix(ConstMatrixView(x_data(input), shape.rows, shape.inner)),
                            {shape.inner, shape.cols, reference::to_double(weights)});
    require_close(result(), expected, reference::rounding_tolerance(shape.inner));
  }
};

Case packed_product(Shape shape) {
  const auto product = std::make_shared<Product>(shape);
  const auto run = [product](Index input) {
    product->multiply(input);
    return product->work();
  };
  return {run, [product](Index input) { product->check(input); }};
}

Case eigen_product(Shape shape) {
  const auto product = std::make_shared<Product>(shape);
  const auto run = [product, shape](Index input) {
    const ConstMatrixView x(product->x_data(input), shape.rows, shape.inner),
        w(product->weights.data(), shape.inner, shape.cols);
    MatrixView(product->y.data(), shape.rows, shape.cols).noalias() = x * w;
    return product->work();
  };
  return {run, [product](Index input) { product->check(input); }};
}

const bool added = [] {
  for (const Shape shape : shapes) {
    const std::string name =
        std::to_string(shape.rows) + "x" + std::to_string(shape.inner) + "x" + std::to_string(shape.cols);
    add("gemm/" + name + "/packed", [shape] { return packed_product(shape); });
    add("gemm/" + name + "/eigen", [shape] { return eigen_product(shape); });
  }
  return true;
}();

}  // namespace
}  // namespace moevit::bench
