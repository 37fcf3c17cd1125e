/// How the cost of layers and models grows: with experts, tokens, capacity, batch, image size, cold and warm experts.
/// Writes one JSON line per point: {"curve", "series", "x", "ms", "expected_ms"}. draw.py makes a picture of them.
/// An argument names one family: layers, experts or models.
#include "curves.hpp"

#include <moevit/build_info.hpp>

#include <algorithm>
#include <cstdio>
#include <iostream>

namespace moevit::bench {

void write_point(const std::string& curve, const std::string& series, double x, double seconds, double expected) {
  std::printf(R"({"curve": "%s", "series": "%s", "x": %g, "ms": %.6g, "expected_ms": %.6g})"
              "\n",
              curve.c_str(), series.c_str(), x, 1e3 * seconds, 1e3 * expected);
  std::fflush(stdout);
}

double time_runs(const std::function<void(Index)>& run) {
  std::vector<double> samples;
  Index call = 0;
  run(call++);  // what is cold only because it was just made
  for (double spent = 0.; spent < 0.1 || samples.size() < 5; spent += samples.back()) {
    const double start = thread_seconds();
    run(call++);
    samples.push_back(thread_seconds() - start);
  }
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

}  // namespace moevit::bench

int main(int argc, char** argv) {
  using namespace moevit::bench;
  std::cerr << moevit::build_info() << '\n';
  const std::string family = argc > 1 ? argv[1] : "";
  const Limits limits = Limits::measure();
  if (family.empty() || family == "layers") layer_curves(limits);
  if (family.empty() || family == "experts") expert_curves(limits);
  if (family.empty() || family == "models") model_curves(limits);
}
