/// What it costs to fork and join, and how a model on two threads compares with two loops of multiply-adds side by
/// side.
#include "scaling.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/models/presets.hpp>

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

template <ModelDescription description>
void measure_forward(benchmark::State& state, Index images) {
  Model<description> net;
  test::randomise(net.parameters(), 7);
  const auto pixels = random_inputs(images * description.vit.image_values());
  std::vector<float> logits(static_cast<std::size_t>(images * description.vit.outputs())), expected = logits;
  Context one = net.context({.images = images, .threads = 1}), two = net.context({.images = images, .threads = 2});
  const auto forward = [&](std::vector<float>& outputs, Context& context) {
    return [&](Index input) { net.forward(pixels[static_cast<std::size_t>(input)], outputs, context); };
  };
  measure_scaling(state, forward(expected, one), forward(logits, two), [&] { return logits == expected; });
}

template <ModelDescription description>
void add_scaling(const std::string& name) {
  for (const Index images : {1, 8})
    benchmark::RegisterBenchmark(("threads/scaling/" + name + "/B" + std::to_string(images)).c_str(),
                                 [images](benchmark::State& state) { measure_forward<description>(state, images); })
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
