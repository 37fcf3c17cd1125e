/// What the processor can do beyond the instruction set that the program is compiled for, asked at run time.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#if defined(__linux__)
#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif
#endif

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Extensions that kernels of reduced precision use. A bit is set if the processor has all that such a kernel needs and
/// the operating system saves its registers. Plain data: whoever chooses kernels may clear bits.
struct CpuFeatures {
  bool avx512_bf16 = false;   ///< with AVX-512 F, BW and VL
  bool avx512_fp16 = false;   ///< as above; not used, but it tells cores apart: simd/choose_kernel.hpp
  bool avx512_vnni = false;   ///< with AVX-512 F, BW and VL
  bool amx_bf16 = false;      ///< with AMX-TILE; Linux must still allow it to the process: simd/amx.hpp
  bool amx_int8 = false;      ///< with AMX-TILE; as above
  bool neon_dotprod = false;  ///< sdot

  bool operator==(const CpuFeatures&) const = default;
};

namespace detail {

#if defined(__x86_64__)

/// The four registers that cpuid answers with; zero where the processor does not know the leaf.
struct CpuidLeaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;

  CpuidLeaf(unsigned leaf, unsigned subleaf) {
    if (!__get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx)) eax = ebx = ecx = edx = 0;
  }
};

constexpr bool has_bit(unsigned value, int bit) { return (value >> bit & 1u) != 0; }

/// The register states that the operating system saves (XCR0).
[[gnu::target("xsave")]] inline unsigned saved_states() { return static_cast<unsigned>(_xgetbv(0)); }

inline CpuFeatures detect_features() {
  constexpr unsigned avx512_states = 0xe6, tile_states = 0x60000;
  CpuFeatures features;
  constexpr int osxsave = 27;
  if (!has_bit(CpuidLeaf(1, 0).ecx, osxsave)) return features;
  const unsigned states = saved_states();
  const CpuidLeaf seven(7, 0), seven_one(7, 1);
  if ((states & avx512_states) == avx512_states) {
    const bool base = has_bit(seven.ebx, 16) && has_bit(seven.ebx, 30) && has_bit(seven.ebx, 31);  // F, BW, VL
    features.avx512_vnni = base && has_bit(seven.ecx, 11);
    features.avx512_fp16 = base && has_bit(seven.edx, 23);
    features.avx512_bf16 = base && has_bit(seven_one.eax, 5);
  }
  if ((states & tile_states) == tile_states && has_bit(seven.edx, 24)) {  // AMX-TILE
    features.amx_bf16 = has_bit(seven.edx, 22);
    features.amx_int8 = has_bit(seven.edx, 25);
  }
  return features;
}

#elif defined(__aarch64__) && defined(__linux__)

inline CpuFeatures detect_features() {
  constexpr unsigned long asimd_dotprod = 1ul << 20;  // HWCAP_ASIMDDP
  return {.neon_dotprod = (getauxval(AT_HWCAP) & asimd_dotprod) != 0};
}

#else

inline CpuFeatures detect_features() {
  CpuFeatures features;
#if defined(__ARM_FEATURE_DOTPROD)
  features.neon_dotprod = true;
#endif
  return features;
}

#endif

}  // namespace detail

/// What this machine has; asked once.
inline const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detail::detect_features();
  return features;
}

/// Whether this process may use AMX. Linux wants to be asked, once per process, because the state of the tiles makes
/// the frames of signals larger; it refuses where a thread has an alternative signal stack that is too small for them.
inline bool may_use_amx() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return granted;
#else
  return true;  // nobody to be asked; the features say whether the system saves the tiles
#endif
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
