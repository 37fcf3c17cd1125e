// Which kernels a program runs: part of the library moevit::compiled. Compiled for any machine of the family.
#include <moevit/simd/compiled/library.hpp>

#include <atomic>
#include <cstring>

extern "C" {
#if defined(__x86_64__)
const void* moevit_kernels_baseline();
const void* moevit_kernels_sse4_2();
const void* moevit_kernels_avx2();
const void* moevit_kernels_avx512();
#elif defined(__aarch64__)
const void* moevit_kernels_neon();
#endif
}

namespace {

struct Set {
  const char* name;
  bool (*is_supported)();
  const void* (*kernels)();
};

/// The best first.
constexpr Set sets[] = {
#if defined(__x86_64__)
    // What cmake/compiled.cmake compiles the sets with. The compiler's functions ask the operating system, too.
    {"avx512",
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
     },
     &moevit_kernels_avx512},
    {"avx2", [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }, &moevit_kernels_avx2},
    {"sse4_2", [] { return __builtin_cpu_supports("sse4.2") != 0; }, &moevit_kernels_sse4_2},
    {"baseline", [] { return true; }, &moevit_kernels_baseline},
#elif defined(__aarch64__)
    {"neon", [] { return true; }, &moevit_kernels_neon},
#endif
};

const void* best_kernels() {
  for (const Set& set : sets)
    if (set.is_supported()) return set.kernels();
  return nullptr;  // not reached: the last set is supported everywhere
}

std::atomic<const void*> chosen{nullptr};

}  // namespace

const void* MOEVIT_LIBRARY_NAME(moevit_chosen_kernels)() {
  const void* kernels = chosen.load(std::memory_order_acquire);
  if (!kernels) {
    const void* best = best_kernels();
    // Whoever came first wins: another thread, or a choice by name.
    kernels = chosen.compare_exchange_strong(kernels, best, std::memory_order_acq_rel) ? best : kernels;
  }
  return kernels;
}

int MOEVIT_LIBRARY_NAME(moevit_use_kernels)(const char* name) {
  for (const Set& set : sets)
    if (std::strcmp(set.name, name) == 0 && set.is_supported()) {
      chosen.store(set.kernels(), std::memory_order_release);
      return 1;
    }
  return 0;
}
