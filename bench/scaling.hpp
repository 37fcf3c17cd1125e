/// How much more two threads do than one.
#pragma once

#include "common.hpp"
#include "fma_peak.hpp"

#include <moevit/core/spin.hpp>
#include <moevit/core/thread_pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

namespace moevit::bench {

template <class Run>
double seconds_of(Run&& run) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  run();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Nanoseconds that a cache line takes from one worker of a pool to another. Within a group of cores that share a cache
/// it is below 100 or so, across groups several times that; a virtual machine's processors can be moved from the one
/// to the other while it runs.
inline double handover_nanoseconds(ThreadPool& pool) {
  constexpr int rounds = 20'000;
  std::atomic<int> turn = 0;  // even: the first worker's
  const double seconds = seconds_of([&] {
    pool.run(2, [&](Index task, Index) {
      for (int own = static_cast<int>(task); own < 2 * rounds; own += 2) {
        while (turn.load(std::memory_order_acquire) != own) relax_core();
        turn.store(own + 1, std::memory_order_release);
      }
    });
  });
  return 1e9 * seconds / (2. * rounds);
}

/// Seconds with one and with two threads, round by round.
struct Scaling {
  std::vector<double> one, two;

  /// How many times as much two threads do: by medians, and by the fastest rounds (others disturb those least).
  double of_medians() const { return median(one) / median(two); }
  double of_fastest() const { return *std::ranges::min_element(one) / *std::ranges::min_element(two); }

 private:
  static double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }
};

/// Every iteration calls one(input) and two(input), the same work with one and with two threads, several times in a
/// row, as in use: the first call finds sleeping threads and cold caches. A loop of multiply-adds of about the same
/// length with one and with two threads goes along, so that all four meet the same neighbours. same(): whether both
/// gave the same bits. "vs_fma" is the target: at least 0.93. Where fma_scaling is far below 2, others use the cores,
/// and nothing can be said; handover_ns tells whether the cores share a cache.
template <class One, class Two, class Same>
void measure_scaling(benchmark::State& state, One&& one, Two&& two, Same&& same) {
  Scaling work, fma;
  ThreadPool pool(2);
  constexpr int calls = 4;
  const auto seconds_of_calls = [](auto& run, Index input) {
    return seconds_of([&] {
      for (int call = 0; call < calls; ++call) run(input);
    });
  };
  const double seconds = seconds_of_calls(one, 0);
  const auto rounds = static_cast<Index>(100'000 * seconds / seconds_of([] { run_multiply_adds(100'000); }));
  Index input = 0;
  for (auto _ : state) {
    work.one.push_back(seconds_of_calls(one, input));
    work.two.push_back(seconds_of_calls(two, input));
    if (!same()) return refuse(state, "two threads gave other bits than one");
    fma.one.push_back(2. * seconds_of([&] { run_multiply_adds(rounds); }));
    fma.two.push_back(seconds_of([&] { pool.run(2, [&](Index, Index) { run_multiply_adds(rounds); }); }));
    input = (input + 1) % inputs;
  }
  state.counters["handover_ns"] = handover_nanoseconds(pool);
  state.counters["scaling"] = work.of_medians();
  state.counters["efficiency"] = work.of_medians() / 2.;
  state.counters["fma_scaling"] = fma.of_medians();
  state.counters["vs_fma"] = work.of_medians() / fma.of_medians();
  state.counters["vs_fma_fastest"] = work.of_fastest() / fma.of_fastest();
}

}  // namespace moevit::bench
