/// How fast one core reads from each level of the memory hierarchy, and how large the levels are.
#pragma once

#include "fma_peak.hpp"

#include <moevit/core/aligned_buffer.hpp>

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

namespace moevit::bench {

/// Bytes of data cache that one core sees.
struct CacheSizes {
  Index l1 = 32 * 1024;
  Index l2 = 1024 * 1024;
  Index l3 = 32 * 1024 * 1024;
};

/// The size of data cache `level` as Linux tells it, then as the C library does; `otherwise` where neither knows.
inline Index cache_bytes(int level, int sysconf_name, Index otherwise) {
  const std::string base = "/sys/devices/system/cpu/cpu0/cache/index";
  for (int index = 0; index < 8; ++index) {
    const std::string folder = base + std::to_string(index);
    int found_level = 0;
    std::string type;
    Index kilobytes = 0;
    std::ifstream(folder + "/level") >> found_level;
    std::ifstream(folder + "/type") >> type;
    std::ifstream(folder + "/size") >> kilobytes;
    if (found_level == level && type != "Instruction" && kilobytes > 0) return 1024 * kilobytes;
  }
  const long bytes = sysconf(sysconf_name);
  return bytes > 0 ? static_cast<Index>(bytes) : otherwise;
}

inline CacheSizes cache_sizes() {
  const CacheSizes usual;
  return {cache_bytes(1, _SC_LEVEL1_DCACHE_SIZE, usual.l1), cache_bytes(2, _SC_LEVEL2_CACHE_SIZE, usual.l2),
          cache_bytes(3, _SC_LEVEL3_CACHE_SIZE, usual.l3)};
}

/// Sums `count` floats, a multiple of eight batches, by eight independent chains: only the loads take time.
inline void read_floats(const float* data, Index count) {
  using B = simd::Batch<simd::DefaultArch>;
  constexpr Index lanes = simd::lanes<simd::DefaultArch>;
  B sum[8];
#pragma GCC unroll 8
  for (Index chain = 0; chain < 8; ++chain) sum[chain] = B(0.f);
  for (Index i = 0; i < count; i += 8 * lanes)
#pragma GCC unroll 8
    for (Index chain = 0; chain < 8; ++chain) sum[chain] += B::load_aligned(data + i + chain * lanes);
  // A copy: were the sums themselves shown, they would be stored in every step.
  B total = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
  benchmark::DoNotOptimize(total);
}

/// Bytes per second of reading `bytes` bytes over and over: the median of five loops of at least 10 ms.
inline double read_bandwidth(Index bytes) {
  const Index count = std::max(bytes / static_cast<Index>(sizeof(float)) / 1024 * 1024, Index{1024});
  const AlignedBuffer<float> data(count);
  read_floats(data.data(), count);
  std::array<double, 5> rates{};
  for (double& rate : rates) {
    Index passes = 0;
    const double start = thread_seconds();
    double seconds = 0.;
    while (seconds < 0.01) {
      // Small buffers are read many times between two looks at the clock.
      const Index repeat = std::max(Index{1}, Index{1 << 20} / count);
      for (Index i = 0; i < repeat; ++i) read_floats(data.data(), count);
      passes += repeat;
      seconds = thread_seconds() - start;
    }
    rate = static_cast<double>(passes * count) * sizeof(float) / seconds;
  }
  std::nth_element(rates.begin(), rates.begin() + 2, rates.end());
  return rates[2];
}

/// One level: how much of it holds data that was read before, and how fast that is read.
struct MemoryLevel {
  std::string name;
  Index bytes = 0;  ///< capacity; 0: no limit
  double bytes_per_second = 0.;
};

/// Each level is measured with a buffer that is clearly larger than the level before and clearly smaller than itself.
inline std::vector<MemoryLevel> measure_memory() {
  const CacheSizes cache = cache_sizes();
  const auto between = [](Index a, Index b) {
    return static_cast<Index>(std::sqrt(static_cast<double>(a) * static_cast<double>(b)));
  };
  const Index beyond = std::max(2 * cache.l3, Index{64} << 20);
  return {{"L1", cache.l1, read_bandwidth(cache.l1 / 2)},
          {"L2", cache.l2, read_bandwidth(cache.l2 / 2)},
          {"L3", cache.l3, read_bandwidth(between(cache.l2, cache.l3))},
          {"DRAM", 0, read_bandwidth(beyond)}};
}

}  // namespace moevit::bench
