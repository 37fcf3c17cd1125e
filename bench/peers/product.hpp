/// Matrix products that engines are compared on: shapes, data, and what an engine has to give.
#pragma once

#include "random_values.hpp"

#include <moevit/core/aligned_buffer.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moevit::bench {

struct Shape {
  Index rows, inner, cols;
};

/// Tokens of ViT-Tiny, -Small and -Base through projections and MLPs, then the few rows that small experts get.
inline std::vector<Shape> product_shapes() {
  std::vector<Shape> shapes{{197, 192, 768},  {197, 768, 192},  {197, 192, 576},  {197, 192, 192},
                            {197, 384, 1536}, {197, 1536, 384}, {197, 768, 3072}, {50, 512, 2048}};
  for (const Index width : {192, 384, 768})
    for (const Index rows : {1, 4, 8, 16, 32, 64}) shapes.push_back({rows, width, 4 * width});
  return shapes;
}

/// y = x W in float32, with a few inputs that take turns.
struct Product {
  static constexpr Index inputs = 3;

  Shape shape;
  AlignedBuffer<float> weights{shape.inner * shape.cols};
  std::vector<AlignedBuffer<float>> x;
  AlignedBuffer<float> y{shape.rows * shape.cols};

  explicit Product(Shape s) : shape(s) {
    fill(weights, 2);
    for (unsigned input = 0; input < inputs; ++input) fill(x.emplace_back(shape.rows * shape.inner), 100 + input);
  }
  Product(const Product&) = delete;  // engines keep pointers into it
  Product& operator=(const Product&) = delete;

  float* x_data(Index input) { return x[static_cast<std::size_t>(input % inputs)].data(); }

 private:
  static void fill(AlignedBuffer<float>& buffer, unsigned seed) {
    std::ranges::copy(test::normal_values(static_cast<Index>(buffer.span().size()), seed), buffer.data());
  }
};

/// Computes product.y from input `input` of the product it was made for.
using Multiply = std::function<void(Index input)>;

/// An engine: makes a Multiply for a product, which it packs for beforehand.
struct ProductEngine {
  std::string name;
  std::function<Multiply(Product&)> prepare;
};

/// The engines that are at hand; where one is not, standard error says why. `mkl_library`: path of libmkl_rt, may be
/// empty.
ProductEngine our_engine();
ProductEngine eigen_engine();
std::optional<ProductEngine> openblas_engine();
std::optional<ProductEngine> onednn_engine();
std::optional<ProductEngine> mkl_engine(const std::string& mkl_library);

}  // namespace moevit::bench
