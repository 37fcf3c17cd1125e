#include "simd/architectures.hpp"

#include <moevit/simd/choose_kernel.hpp>

using namespace moevit;
using simd::WeightFormat;

TEST_CASE("without extensions floats and widening are chosen") {
  test::for_each_architecture([]<class Arch>(Arch) {
    CHECK(&simd::choose_kernel<Arch>(WeightFormat::float32, {}) == &simd::float_kernel<Arch>);
    CHECK(&simd::choose_kernel<Arch>(WeightFormat::bfloat16, {}) == &simd::bf16_weights_kernel<Arch>);
    CHECK(&simd::choose_kernel<Arch>(WeightFormat::int8, {}) == &simd::int8_widening_kernel<Arch>);
  });
}

TEST_CASE("kernels are for the format that they are chosen for, and their columns suit the epilogue") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const WeightFormat format : {WeightFormat::float32, WeightFormat::bfloat16, WeightFormat::int8}) {
      const simd::TileKernel& kernel = simd::choose_kernel<Arch>(format);
      CAPTURE(kernel.name);
      CHECK(kernel.weights == format);
      CHECK(kernel.lanes % simd::lanes<Arch> == 0);
      CHECK(kernel.columns % kernel.lanes == 0);
      CHECK(kernel.most_rows <= 16);
    }
  });
}

TEST_CASE("bfloat16 weights with float arithmetic are to be had on every machine") {
  const simd::TileKernel& kernel =
      simd::choose_kernel(WeightFormat::bfloat16, simd::cpu_features(), {.float_arithmetic = true});
  CHECK(&kernel == &simd::bf16_weights_kernel<>);
}

#if defined(__x86_64__)

TEST_CASE("extensions are chosen by their bits") {
  const auto bf16 = [](const simd::CpuFeatures& features) -> const simd::TileKernel& {
    return simd::choose_kernel(WeightFormat::bfloat16, features);
  };
  CHECK(&bf16({.avx512_bf16 = true}) == &simd::bf16_dot_kernel);
  CHECK(&bf16({.avx512_bf16 = true, .avx512_fp16 = true}) == &simd::bf16_weights_kernel<>);
  CHECK(&simd::choose_kernel(WeightFormat::int8, {.avx512_vnni = true}) == &simd::int8_vnni_kernel);
}

TEST_CASE("AMX is chosen where the process may use it") {
  const simd::CpuFeatures features{
      .avx512_bf16 = true, .avx512_fp16 = true, .avx512_vnni = true, .amx_bf16 = true, .amx_int8 = true};
  const bool allowed = simd::may_use_amx();
  CHECK(&simd::choose_kernel(WeightFormat::bfloat16, features) ==
        (allowed ? &simd::bf16_amx_kernel : &simd::bf16_weights_kernel<>));
  CHECK(&simd::choose_kernel(WeightFormat::int8, features) ==
        (allowed ? &simd::int8_amx_kernel : &simd::int8_vnni_kernel));
}

#endif
