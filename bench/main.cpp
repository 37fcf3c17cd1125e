/// Checks, times and reports the cases that the other files add.
#include "common.hpp"
#include "fma_peak.hpp"

#include <moevit/build_info.hpp>

#include <iostream>
#include <memory>
#include <optional>

namespace moevit::bench {
namespace {

/// The case whose turn it is. Google Benchmark calls it several times, to find the number of iterations; weights are
/// made, results checked and the peak measured once.
struct Current {
  std::string name;
  std::optional<Case> made;
  double peak = 0.;  // multiply-adds per second, measured right before the case
  std::string refusal;
};

Current current;
bool refused = false;

void begin(const std::string& name, const std::function<Case()>& make) {
  if (current.name == name) return;
  current = {};  // frees the case before
  current.name = name;
  try {
    current.made = make();
    for (Index input = 0; input < inputs; ++input) {
      current.made->run(input);
      current.made->check(input);
    }
    current.peak = measure_fma_peak();
  } catch (const std::exception& error) {
    current.refusal = error.what();
  }
}

/// One number per iteration, of which the median is reported: a shared machine has slow spells.
struct Rates {
  std::vector<double> multiply_adds, bytes, tokens;

  static double median(std::vector<double>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }
  void add(const Work& work, double seconds) {
    multiply_adds.push_back(work.multiply_adds / seconds);
    bytes.push_back(work.bytes / seconds);
    tokens.push_back(work.tokens / seconds);
  }
  void report(benchmark::State& state, double peak) {
    const double rate = median(multiply_adds), moved = median(bytes), routed = median(tokens);
    if (rate > 0.) {
      state.counters["GFLOP/s"] = 2e-9 * rate;
      state.counters["of_peak_%"] = 100. * rate / peak;
      state.counters["peak"] = 2e-9 * peak;
    }
    if (moved > 0.) state.counters["GB/s"] = 1e-9 * moved;
    if (routed > 0.) state.counters["ktokens/s"] = 1e-3 * routed;
  }
};

void measure(benchmark::State& state, const std::string& name, const std::function<Case()>& make) {
  begin(name, make);
  if (!current.refusal.empty()) return refuse(state, current.refusal);
  Rates rates;
  Index input = 0;
  for (auto _ : state) {
    const double start = thread_seconds();
    const Work work = current.made->run(input);
    rates.add(work, thread_seconds() - start);
    input = (input + 1) % inputs;
  }
  rates.report(state, current.peak);
  for (const auto& [counter, value] : current.made->counters) state.counters[counter] = value;
}

}  // namespace

void add(const std::string& name, std::function<Case()> make) {
  benchmark::RegisterBenchmark(name.c_str(), [name, make = std::move(make)](benchmark::State& state) {
    measure(state, name, make);
  })->Unit(benchmark::kMillisecond);
}

void refuse(benchmark::State& state, const std::string& why) {
  refused = true;
  state.SkipWithError(why.c_str());
}

bool any_refused() { return refused; }

}  // namespace moevit::bench

int main(int argc, char** argv) {
  std::cerr << moevit::build_info() << '\n';
  if (!moevit::build_warning().empty()) std::cerr << "warning: " << moevit::build_warning() << '\n';
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (benchmark::RunSpecifiedBenchmarks() == 0) {
    std::cerr << "error: no benchmark matches the filter\n";
    return 2;
  }
  if (!moevit::bench::any_refused()) return 0;
  std::cerr << "error: benchmarks with a wrong result were not timed\n";
  return 1;
}
