/// Ours, Eigen, OpenBLAS and MKL. The last two have the same names for their functions, so each is opened as a library
/// of its own at run time.
#include "our_gemm.hpp"
#include "product.hpp"

#include <moevit/core/error.hpp>

#include <Eigen/Core>

#include <dlfcn.h>

#include <cstdlib>
#include <iostream>

namespace moevit::bench {
namespace {

// Values of the C interface to BLAS, and of MKL's extension for packed matrices.
constexpr int row_major = 101, not_transposed = 111, packed = 151, second_matrix = 162;

using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
using PackSize = std::size_t (*)(int, int, int, int);
using Pack = void (*)(int, int, int, int, int, int, float, const float*, int, float*);
using Compute = void (*)(int, int, int, int, int, int, const float*, int, const float*, int, float, float*, int);

/// The library stays open: its threads and tables may outlive every use.
class Library {
 public:
  Library(const std::string& path, int mode) : handle_(dlopen(path.c_str(), RTLD_NOW | mode)) {
    if (!handle_) fail(dlerror());
  }
  template <class Function>
  Function function(const char* name) const {
    void* found = dlsym(handle_, name);
    if (!found) fail(dlerror());
    return reinterpret_cast<Function>(found);
  }

 private:
  void* handle_;
};

std::optional<ProductEngine> engine_or_reason(const std::string& name, const std::function<ProductEngine()>& make) {
  try {
    return make();
  } catch (const Error& error) {
    std::cerr << "   products: " << name << " is left out: " << error.what() << '\n';
    return std::nullopt;
  }
}

struct Sizes {
  int rows, inner, cols;
  explicit Sizes(Shape shape)
      : rows(static_cast<int>(shape.rows)), inner(static_cast<int>(shape.inner)), cols(static_cast<int>(shape.cols)) {}
};

ProductEngine open_openblas() {
  const Library library("libopenblas.so.0", RTLD_LOCAL);
  library.function<void (*)(int)>("openblas_set_num_threads")(1);
  std::cerr << "   products: OpenBLAS runs its kernels for " << library.function<char* (*)()>("openblas_get_corename")()
            << '\n';
  const auto sgemm = library.function<Sgemm>("cblas_sgemm");
  return {"OpenBLAS", [sgemm](Product& product) -> Multiply {
            const Sizes n(product.shape);
            return [sgemm, n, &product](Index input) {
              sgemm(row_major, not_transposed, not_transposed, n.rows, n.cols, n.inner, 1.f, product.x_data(input),
                    n.inner, product.weights.data(), n.cols, 0.f, product.y.data(), n.cols);
            };
          }};
}

ProductEngine open_mkl(const std::string& path) {
  if (path.empty()) fail("its library was not found");
  setenv("MKL_THREADING_LAYER", "SEQUENTIAL", 1);
  setenv("MKL_INTERFACE_LAYER", "LP64", 1);
  const Library library(path, RTLD_GLOBAL);  // the parts that it opens itself look for their functions globally
  const auto size = library.function<PackSize>("cblas_sgemm_pack_get_size");
  const auto pack = library.function<Pack>("cblas_sgemm_pack");
  const auto compute = library.function<Compute>("cblas_sgemm_compute");
  return {"MKL packed", [=](Product& product) -> Multiply {
            const Sizes n(product.shape);
            const auto floats = static_cast<Index>(size(second_matrix, n.rows, n.cols, n.inner) / sizeof(float) + 1);
            const auto panels = std::make_shared<AlignedBuffer<float>>(floats);
            pack(row_major, second_matrix, not_transposed, n.rows, n.cols, n.inner, 1.f, product.weights.data(), n.cols,
                 panels->data());
            return [=, &product](Index input) {
              compute(row_major, not_transposed, packed, n.rows, n.cols, n.inner, product.x_data(input), n.inner,
                      panels->data(), n.cols, 0.f, product.y.data(), n.cols);
            };
          }};
}

}  // namespace

ProductEngine our_engine() {
  return {"ours", [](Product& product) -> Multiply {
            const auto gemm =
                std::make_shared<OurGemm>(product.shape.inner, product.shape.cols, product.weights.data());
            return [gemm, &product](Index input) {
              gemm->run(product.shape.rows, product.x_data(input), product.y.data());
            };
          }};
}

ProductEngine eigen_engine() {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return {"Eigen", [](Product& product) -> Multiply {
            return [&product](Index input) {
              const auto [rows, inner, cols] = product.shape;
              const Eigen::Map<const Matrix> x(product.x_data(input), rows, inner);
              const Eigen::Map<const Matrix> weights(product.weights.data(), inner, cols);
              Eigen::Map<Matrix>(product.y.data(), rows, cols).noalias() = x * weights;
            };
          }};
}

std::optional<ProductEngine> openblas_engine() { return engine_or_reason("OpenBLAS", open_openblas); }

std::optional<ProductEngine> mkl_engine(const std::string& mkl_library) {
  return engine_or_reason("MKL", [&] { return open_mkl(mkl_library); });
}

}  // namespace moevit::bench
