/// Means of few numbers with their confidence intervals.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

namespace examples {

/// Mean and half the width of its two-sided 90 % confidence interval, from Student's t.
struct Estimate {
  std::size_t count = 0;
  double mean = 0;
  double half_width = std::numeric_limits<double>::infinity();  ///< of one number nothing is known

  double low() const { return mean - half_width; }
  double high() const { return mean + half_width; }
};

/// The 95 % quantile of Student's t distribution, for 1 to 30 degrees of freedom; above, the normal distribution's with
/// Hill's first correction.
inline double t_quantile(std::size_t freedom) {
  static constexpr std::array table{6.3138, 2.9200, 2.3534, 2.1318, 2.0150, 1.9432, 1.8946, 1.8595, 1.8331, 1.8125,
                                    1.7959, 1.7823, 1.7709, 1.7613, 1.7531, 1.7459, 1.7396, 1.7341, 1.7291, 1.7247,
                                    1.7207, 1.7171, 1.7139, 1.7109, 1.7081, 1.7056, 1.7033, 1.7011, 1.6991, 1.6973};
  if (freedom <= table.size()) return table[freedom - 1];
  constexpr double normal = 1.6448536;
  return normal + (normal * normal * normal + normal) / (4. * static_cast<double>(freedom));
}

inline Estimate estimate(const std::vector<double>& values) {
  Estimate result{.count = values.size()};
  if (values.empty()) return result;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / count;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.half_width = t_quantile(values.size() - 1) * std::sqrt(squares / (count - 1) / count);
  return result;
}

/// "mean ± half width", both times `scale`; without the width when there is none.
inline std::string text_of(const Estimate& value, double scale = 100, const char* format = "%.2f") {
  if (value.count == 0) return "-";
  char text[40];
  std::snprintf(text, sizeof text, format, scale * value.mean);
  std::string result = text;
  if (value.count < 2) return result;
  std::snprintf(text, sizeof text, format, scale * value.half_width);
  return result + " ± " + text;
}

}  // namespace examples
