/// Shared by all benchmarks: cases that are checked before they are timed, the FMA peak, and the counters.
#pragma once

#include "random_values.hpp"
#include "reference.hpp"

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>

#include <benchmark/benchmark.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace moevit::bench {

/// What one iteration really did.
struct Work {
  double multiply_adds = 0.;
  double bytes = 0.;   // read and written at least; 0: not reported
  double tokens = 0.;  // 0: not reported
};

/// A benchmark, made when its turn comes. The input changes with every iteration, so that no result is reused and
/// branches cannot be learned; weights stay.
struct Case {
  std::function<Work(Index input)> run;         // input: 0..inputs-1
  std::function<void(Index input)> check;       // after run(input): throws Error when the result is wrong
  std::map<std::string, double> counters = {};  // reported beside the times, which they do not depend on
};

/// Prepared inputs of a case.
inline constexpr Index inputs = 3;

/// Adds a case. Before it is timed it runs and is checked on every input; if a check fails it is not timed, and the
/// program ends with an error. "family/shape" is the way names are built.
void add(const std::string& name, std::function<Case()> make);

/// Reports a wrong result instead of times; the program will end with an error.
void refuse(benchmark::State& state, const std::string& why);

/// Whether a case was refused.
bool any_refused();

/// Throws Error when a row of `found` is further from `expected` than `tolerance` times its norm.
inline void require_close(ConstMatrixView found, const reference::Matrix& expected, double tolerance) {
  const double error = reference::relative_error(found, expected);
  if (!(error <= tolerance)) fail("wrong result: expected a relative error of at most ", tolerance, ", found ", error);
}

/// `inputs` matrices of normally distributed values.
inline std::vector<std::vector<float>> random_inputs(Index count, unsigned seed = 1) {
  std::vector<std::vector<float>> list;
  for (Index input = 0; input < inputs; ++input)
    list.push_back(test::normal_values(count, seed + 100 * static_cast<unsigned>(input)));
  return list;
}

/// A copy on cache lines.
inline AlignedBuffer<float> aligned(const std::vector<float>& values) {
  AlignedBuffer<float> buffer(static_cast<Index>(values.size()));
  std::ranges::copy(values, buffer.data());
  return buffer;
}

/// The parameters that each(visit) lists, with random values.
template <class Each>
std::vector<Parameter> random_parameters(Each each, unsigned seed = 7) {
  std::vector<Parameter> list;
  each([&](auto&& parameter) { list.push_back(std::forward<decltype(parameter)>(parameter)); });
  test::randomise(list, seed);
  return list;
}

}  // namespace moevit::bench
