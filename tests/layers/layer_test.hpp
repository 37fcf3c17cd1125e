/// What the tests of layers share.
#pragma once

#include "catch.hpp"
#include "random_values.hpp"
#include "reference_model.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/core/workspace.hpp>

#include <utility>
#include <vector>

namespace moevit::test {

/// The parameters that each(visit) lists.
template <class Each>
std::vector<Parameter> collect(Each each) {
  std::vector<Parameter> list;
  each([&](auto&& parameter) { list.push_back(std::forward<decltype(parameter)>(parameter)); });
  return list;
}

/// What run(workspace) returns, after checking that it gives the same bits with 1 to 4 threads within the scratch it
/// says.
template <class Run>
std::vector<float> run_with_threads(ScratchBytes scratch, Run run) {
  Workspace serial(scratch);
  const std::vector<float> expected = run(serial);
  for (Index threads = 2; threads <= 4; ++threads) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    Workspace workspace(scratch, pool);
    CHECK(run(workspace) == expected);
  }
  return expected;
}

}  // namespace moevit::test
