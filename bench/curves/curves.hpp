/// Curves of cost: points that are timed beside what the limits of the machine let expect.
#pragma once

#include "bandwidth.hpp"

#include <functional>
#include <string>
#include <vector>

namespace moevit::bench {

/// The limits of the machine, measured before the curves.
struct Limits {
  double multiply_adds_per_second = 0.;
  std::vector<MemoryLevel> levels;

  static Limits measure() { return {measure_fma_peak(), measure_memory()}; }

  /// Bytes per second of reading `bytes` bytes that were read not long ago.
  double bandwidth_of(double bytes) const {
    for (const MemoryLevel& level : levels)
      if (level.bytes == 0 || bytes < static_cast<double>(level.bytes)) return level.bytes_per_second;
    return levels.back().bytes_per_second;
  }
  /// Seconds of arithmetic while `weight_bytes` are read at `bandwidth`; the slower of both decides.
  double seconds(double multiply_adds, double weight_bytes, double bandwidth) const {
    return std::max(multiply_adds / multiply_adds_per_second, weight_bytes / bandwidth);
  }
};

/// Writes one point as a JSON line. `seconds`: measured; `expected`: what the limits allow.
void write_point(const std::string& curve, const std::string& series, double x, double seconds, double expected);

/// Seconds that this thread computed per call of run(i), i = 0, 1, ...: the median over calls for at least 0.1 s.
double time_runs(const std::function<void(Index)>& run);

/// Families of curves, each in a file of its own.
void layer_curves(const Limits& limits);
void expert_curves(const Limits& limits);
void model_curves(const Limits& limits);

}  // namespace moevit::bench
