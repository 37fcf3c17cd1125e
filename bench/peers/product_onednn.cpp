/// oneDNN, where CMake found it: versions 2 and 3 describe a product differently.
#include "product.hpp"

#ifdef MOEVIT_HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>
#endif

#include <iostream>

namespace moevit::bench {

#ifdef MOEVIT_HAVE_ONEDNN

namespace {

using Memory = dnnl::memory;

/// A product whose weights are in the layout that the library chose for them.
struct DnnlProduct {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul multiply;
  Memory x, weights, y;

  explicit DnnlProduct(Product& product) {
    const auto [rows, inner, cols] = product.shape;
    const auto plain = [](Index height, Index width) {
      return Memory::desc({height, width}, Memory::data_type::f32, Memory::format_tag::ab);
    };
    const Memory::desc chosen({inner, cols}, Memory::data_type::f32, Memory::format_tag::any);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc about(engine, plain(rows, inner), chosen, plain(rows, cols));
#else
    const dnnl::matmul::primitive_desc about(dnnl::matmul::desc(plain(rows, inner), chosen, plain(rows, cols)), engine);
#endif
    multiply = dnnl::matmul(about);
    x = Memory(about.src_desc(), engine, product.x_data(0));
    y = Memory(about.dst_desc(), engine, product.y.data());
    weights = Memory(about.weights_desc(), engine);
    Memory given(plain(inner, cols), engine, product.weights.data());
    dnnl::reorder(given, weights).execute(stream, given, weights);
    stream.wait();
  }

  void run(float* input) {
    x.set_data_handle(input);
    multiply.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, y}});
    stream.wait();
  }
};

}  // namespace

std::optional<ProductEngine> onednn_engine() {
  return ProductEngine{"oneDNN", [](Product& product) -> Multiply {
                         const auto dnnl_product = std::make_shared<DnnlProduct>(product);
                         return [dnnl_product, &product](Index input) { dnnl_product->run(product.x_data(input)); };
                       }};
}

#else

std::optional<ProductEngine> onednn_engine() {
  std::cerr << "   products: oneDNN is left out: it was not found when this was built (Debian: libdnnl-dev)\n";
  return std::nullopt;
}

#endif

}  // namespace moevit::bench
