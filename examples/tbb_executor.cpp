/// Threads of the caller's: a V-MoE that runs on a task arena of oneTBB, for programs that have one already. The
/// adaptor is the class below; the rest checks that the logits are those of one thread, bit for bit.
#include "common/program.hpp"

#include <moevit/moevit.hpp>

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

using moevit::Index;

/// A moevit::Executor on the threads of a tbb::task_arena, which must outlive it. As in moevit::ThreadPool, worker w
/// has the tasks [n w / workers, n (w + 1) / workers). Which thread of the arena becomes worker w is left to oneTBB: a
/// worker is a share of the work with its scratch memory, and a share is never run by two threads.
class TbbExecutor {
 public:
  explicit TbbExecutor(tbb::task_arena& arena) : arena_(arena) {}

  Index workers() const { return arena_.max_concurrency(); }

  void run(Index tasks, moevit::TaskRef task) const {
    const Index count = workers();
    const auto environment = moevit::FloatEnvironment::current();
    const auto share = [&](const tbb::blocked_range<Index>& range) {
      const BorrowEnvironment borrow(environment);
      for (Index worker = range.begin(); worker < range.end(); ++worker)
        for (Index i = tasks * worker / count; i < tasks * (worker + 1) / count; ++i) task(i, worker);
    };
    arena_.execute(
        [&] { tbb::parallel_for(tbb::blocked_range<Index>(0, count, 1), share, tbb::simple_partitioner()); });
  }

 private:
  /// The threads of an arena have other work, too: they get their floating-point environment back.
  struct BorrowEnvironment {
    moevit::FloatEnvironment own = moevit::FloatEnvironment::current();
    explicit BorrowEnvironment(const moevit::FloatEnvironment& environment) { environment.apply(); }
    ~BorrowEnvironment() { own.apply(); }
  };

  tbb::task_arena& arena_;
};
static_assert(moevit::Executor<TbbExecutor>);

constexpr moevit::VitConfig config{
    .image = 32, .patch = 4, .channels = 3, .dim = 96, .depth = 6, .heads = 4, .hidden = 384, .classes = 10};
struct Net : moevit::VMoe<config, moevit::MoeConfig{.experts = 8, .selected = 2, .placement = moevit::last_odd(2)}> {};

namespace {

/// Nothing is trained here: random weights do to compare logits.
void fill(std::vector<float>& values, std::mt19937& random, float deviation) {
  std::normal_distribution<float> normal(0.f, deviation);
  for (float& value : values) value = normal(random);
}

int compare(int threads) {
  std::mt19937 random(1);
  Net net;
  for (moevit::Parameter& parameter : net.parameters()) {
    if (parameter.role == moevit::Role::norm) continue;
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    fill(values, random, 0.1f);
    parameter.assign(values);
  }
  constexpr Index images = 16;
  std::vector<float> pixels(images * config.image_values()), serial(images * config.classes), parallel(serial);
  fill(pixels, random, 1.f);

  auto one = net.context({.images = images});
  net.forward(pixels, serial, one);

  // By default oneTBB gives out as many threads as there are processors, however many are asked for.
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  TbbExecutor executor(arena);
  auto run = net.context({.images = images}, executor);
  net.forward(pixels, parallel, run);

  if (std::memcmp(serial.data(), parallel.data(), serial.size() * sizeof(float)) != 0)
    moevit::fail("the logits of ", executor.workers(), " workers differ from those of one");
  std::printf("%td images on %td workers of oneTBB: logits equal those of one thread, bit for bit\n", images,
              executor.workers());
  return examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Runs a small V-MoE (random weights, random images) on threads of oneTBB and compares with one thread.",
               "tbb_executor");
  int threads = 4;
  app.add_option("--threads", threads, "Threads of the arena, this one among them")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  return examples::run_program(app, argc, argv, [&] { return compare(threads); });
}
