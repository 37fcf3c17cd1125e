/// Which kernel multiplies with packed weights on this machine.
#pragma once

#include <moevit/simd/amx.hpp>
#include <moevit/simd/bf16_weights.hpp>
#include <moevit/simd/cpu_features.hpp>
#include <moevit/simd/dot_avx512.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Wishes for a kernel.
struct KernelOptions {
  /// bfloat16: only weights are rounded, rows and arithmetic stay floats. Half the bytes to read, no faster arithmetic.
  bool float_arithmetic = false;
};

namespace detail {

template <class Arch>
const TileKernel& choose_bf16_kernel([[maybe_unused]] const CpuFeatures& features, const KernelOptions& options) {
  if (options.float_arithmetic) return bf16_weights_kernel<Arch>;
#if defined(__x86_64__)
  if (features.amx_bf16 && may_use_amx()) return bf16_amx_kernel;
  // Twice as fast as floats on cores without AVX512_FP16. Those that have it are Intel's with AMX, where the dot
  // products take twice as long as floats: when AMX is switched off there, floats are better.
  if (features.avx512_bf16 && !features.avx512_fp16) return bf16_dot_kernel;
#endif
  return bf16_weights_kernel<Arch>;
}

template <class Arch>
const TileKernel& choose_int8_kernel([[maybe_unused]] const CpuFeatures& features) {
#if defined(__x86_64__)
  if (features.amx_int8 && may_use_amx()) return int8_amx_kernel;
  if (features.avx512_vnni) return int8_vnni_kernel;
#elif defined(MOEVIT_HAS_DOTPROD_KERNEL)
  if (features.neon_dotprod) return int8_dotprod_kernel<Arch>;
#endif
  return int8_widening_kernel<Arch>;
}

}  // namespace detail

/// The fastest kernel for weights of `format`, to be packed for it. `features`: what the machine has, or less.
template <class Arch = DefaultArch>
const TileKernel& choose_kernel(WeightFormat format, const CpuFeatures& features = cpu_features(),
                                const KernelOptions& options = {}) {
  switch (format) {
    case WeightFormat::bfloat16:
      return detail::choose_bf16_kernel<Arch>(features, options);
    case WeightFormat::int8:
      return detail::choose_int8_kernel<Arch>(features);
    case WeightFormat::float32:
      break;
  }
  return float_kernel<Arch>;
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
