/// What it costs to fork and join, and how a model on two threads compares with two loops of multiply-adds side by
/// side.
#include "common.hpp"
#include "fma_peak.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/models/presets.hpp>

#include <algorithm>
#include <chrono>
#include <memory>

namespace moevit::bench {
namespace {

/// Thousand rounds of a task that does next to nothing: the milliseconds of one iteration are the microseconds of one
/// fork and join.
Case thousand_rounds(Index threads) {
  struct Rounds {
    ThreadPool pool;
    std::vector<Index> sums = std::vector<Index>(static_cast<std::size_t>(8 * pool.workers()));  // a cache line each
    Index rounds = 0;
    explicit Rounds(Index count) : pool(count) {}
  };
  const auto state = std::make_shared<Rounds>(threads);
  const auto run = [state](Index) {
    for (Index round = 0; round < 1000; ++round, ++state->rounds)
      state->pool.run(state->pool.workers(),
                      [&](Index task, Index) { ++state->sums[static_cast<std::size_t>(8 * task)]; });
    return Work{};
  };
  return {run, [state](Index) {
            for (Index worker = 0; worker < state->pool.workers(); ++worker)
              if (state->sums[static_cast<std::size_t>(8 * worker)] != state->rounds) fail("a round was lost");
          }};
}

template <class Run>
double seconds_of(Run&& run) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  run();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Seconds with one and with two threads, round by round.
struct Scaling {
  std::vector<double> one, two;

  /// How many times as much two threads do: by medians, and by the fastest rounds (others disturb those least).
  double of_medians() const { return median(one) / median(two); }
  double of_fastest() const { return *std::ranges::min_element(one) / *std::ranges::min_element(two); }
};

/// Every iteration runs the model and a loop of multiply-adds of about the same length, each with one and with two
/// threads, so that all four meet the same neighbours. "vs_fma" is the target: at least 0.93.
template <ModelDescription description>
void measure_scaling(benchmark::State& state, Index images) {
  Model<description> net;
  test::randomise(net.parameters(), 7);
  const auto pixels = random_inputs(images * description.vit.image_values());
  std::vector<float> logits(static_cast<std::size_t>(images * description.vit.outputs())), expected = logits;
  Context one = net.context({.images = images, .threads = 1}), two = net.context({.images = images, .threads = 2});
  ThreadPool pool(2);
  Scaling model, fma;
  const double pass = seconds_of([&] { net.forward(pixels[0], expected, one); });
  const auto rounds = static_cast<Index>(100'000 * pass / seconds_of([] { run_multiply_adds(100'000); }));
  std::size_t input = 0;
  for (auto _ : state) {
    const std::vector<float>& x = pixels[input];
    input = (input + 1) % static_cast<std::size_t>(inputs);
    model.one.push_back(seconds_of([&] { net.forward(x, expected, one); }));
    model.two.push_back(seconds_of([&] { net.forward(x, logits, two); }));
    if (logits != expected) return state.SkipWithError("two threads gave other logits than one");
    fma.one.push_back(2. * seconds_of([&] { run_multiply_adds(rounds); }));
    fma.two.push_back(seconds_of([&] { pool.run(2, [&](Index, Index) { run_multiply_adds(rounds); }); }));
  }
  state.counters["scaling"] = model.of_medians();
  state.counters["fma_scaling"] = fma.of_medians();
  state.counters["vs_fma"] = model.of_medians() / fma.of_medians();
  state.counters["vs_fma_fastest"] = model.of_fastest() / fma.of_fastest();
}

template <ModelDescription description>
void add_scaling(const std::string& name) {
  for (const Index images : {1, 8})
    benchmark::RegisterBenchmark(("threads/scaling/" + name + "/B" + std::to_string(images)).c_str(),
                                 [images](benchmark::State& state) { measure_scaling<description>(state, images); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
}

constexpr ModelDescription vit_tiny{ModelFamily::vit, VitConfig{}, MoeConfig{.placement = no_blocks()}};

const bool added = [] {
  for (const Index threads : {2, 4})
    add("threads/fork_join_x1000/" + std::to_string(threads), [threads] { return thousand_rounds(threads); });
  add_scaling<vit_tiny>("vit_tiny_16");
  add_scaling<presets::mobile_vmoe_12x192>("mobile_vmoe_12x192_16_last2_E10");
  return true;
}();

}  // namespace
}  // namespace moevit::bench
