/// The most multiply-adds that one core does with this instruction set: what results are compared with.
#pragma once

#include <moevit/simd/simd.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace moevit::bench {

/// Seconds that this thread has computed. Cases run on one thread; time that others took from it does not count.
inline double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// `rounds` rounds of independent multiply-adds in registers; returns their number. As many accumulators as hide the
/// latency of two units and leave registers for the operands. A function of its own: inlined, it may lose its
/// registers.
[[gnu::noinline]] inline double run_multiply_adds(Index rounds) {
  using B = simd::Batch<simd::DefaultArch>;
  constexpr int chains = simd::register_count<simd::DefaultArch> == 32 ? 24 : 12;
  B sum[chains];
  for (int i = 0; i < chains; ++i) sum[i] = B(static_cast<float>(i));
  const B factor(0.999f), step(0.001f);  // towards 1: no denormals
  for (Index round = 0; round < rounds; ++round)
#pragma GCC unroll 24
    for (int i = 0; i < chains; ++i) sum[i] = simd::fma<simd::DefaultArch>(sum[i], factor, step);
  for (int i = 1; i < chains; ++i) sum[0] += sum[i];
  benchmark::DoNotOptimize(sum[0]);
  return static_cast<double>(rounds) * chains * static_cast<double>(simd::lanes<simd::DefaultArch>);
}

/// Multiply-adds per second of one loop of at least 10 ms on the calling thread.
inline double fma_rate() {
  thread_local Index rounds = 100'000;
  for (;;) {
    const double start = thread_seconds();
    const double done = run_multiply_adds(rounds);
    const double seconds = thread_seconds() - start;
    if (seconds >= 0.01) return done / seconds;
    rounds = std::max(2 * rounds, static_cast<Index>(static_cast<double>(rounds) * 0.012 / seconds));
  }
}

/// Multiply-adds per second: the median of five such loops.
inline double measure_fma_peak() {
  std::array<double, 5> rates{};
  for (double& rate : rates) rate = fma_rate();
  std::nth_element(rates.begin(), rates.begin() + 2, rates.end());
  return rates[2];
}

}  // namespace moevit::bench
