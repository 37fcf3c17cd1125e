// The pool's promises: every task once, workers never at two tasks at a time, exceptions, the floating-point
// environment.
#include <moevit/core/float_environment.hpp>
#include <moevit/core/thread_pool.hpp>

#include "catch.hpp"

#include <atomic>
#include <cfenv>
#include <chrono>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

#include <sys/resource.h>

using namespace moevit;

namespace {

/// Takes back what a test does to the floating-point environment.
struct KeepEnvironment {
  FloatEnvironment before = FloatEnvironment::current();
  ~KeepEnvironment() { before.apply(); }
};

/// a[i] op b, computed by the workers of a pool; volatile, so that the compiler does not compute it.
template <class Operation>
std::vector<float> computed(Index threads, Operation operation) {
  ThreadPool pool(threads);
  pool.run(2 * threads, [](Index, Index) {});  // threads exist, and have the environment from before
  std::vector<float> results(static_cast<std::size_t>(4 * threads));
  pool.run(4 * threads, [&](Index task, Index) { results[static_cast<std::size_t>(task)] = operation(); });
  return results;
}

float third() {
  volatile float one = 1.f, three = 3.f;
  return one / three;
}

double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

}  // namespace

TEST_CASE("a pool runs each task once, and no worker at two tasks at a time") {
  for (Index threads : {1, 2, 3, 4, 9}) {
    ThreadPool pool(threads);
    CHECK(pool.workers() == threads);
    for (Index tasks : {0, 1, 2, 3, 8, 100}) {
      std::vector<int> done(static_cast<std::size_t>(tasks));
      std::vector<std::atomic<int>> active(static_cast<std::size_t>(threads));
      std::atomic<int> wrong = 0;
      pool.run(tasks, [&](Index task, Index worker) {
        auto& here = active[static_cast<std::size_t>(worker)];
        if (++here != 1) ++wrong;
        ++done[static_cast<std::size_t>(task)];
        --here;
      });
      CHECK(wrong == 0);
      CHECK(done == std::vector<int>(static_cast<std::size_t>(tasks), 1));
    }
  }
}

TEST_CASE("whoever is done takes tasks of a worker that is not") {
  constexpr Index tasks = 50;
  for (Index threads : {2, 3}) {
    ThreadPool pool(threads);
    std::atomic<Index> done = 0;
    pool.run(tasks, [&](Index task, Index) {
      const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (task == 0 && done < tasks - 1 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
      if (task != 0 || done == tasks - 1) ++done;
    });
    CHECK(done == tasks);
  }
}

TEST_CASE("a pool begins as many tasks as there are, up to those that a share can count") {
  ThreadPool pool(2);
  CHECK_THROWS_WITH(pool.run(Index{1} << 32, [](Index, Index) {}),
                    Catch::Contains("expected at most 4294967295 tasks"));
}

TEST_CASE("what tasks write is seen by the next round, through many tiny rounds and after sleep") {
  for (Index threads : {2, 5}) {
    ThreadPool pool(threads);
    std::vector<long> values(static_cast<std::size_t>(threads), 0);
    constexpr long rounds = 20'000;
    for (long round = 0; round < rounds; ++round) {
      if (round % 5'000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // workers go to sleep
      pool.run(threads, [&](Index task, Index) {
        // Each value becomes what its neighbour's would be one round later: a lost round shows.
        values[static_cast<std::size_t>(task)] += task + 1;
      });
      if (values.front() != round + 1) FAIL("round " << round);
    }
    for (Index i = 0; i < threads; ++i) CHECK(values[static_cast<std::size_t>(i)] == rounds * (i + 1));
  }
}

TEST_CASE("a pool passes on the exception of the lowest task that failed and may be used again") {
  for (Index threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int repeat = 0; repeat < 50; ++repeat) {
      const auto some_fail = [](Index task, Index) {
        if (task >= 3) fail("task ", task);
      };
      CHECK_THROWS_WITH(pool.run(40, some_fail), "task 3");
      CHECK_THROWS_WITH(pool.run(40,
                                 [](Index task, Index) {
                                   if (task == 39) throw 7;
                                   if (task == 38) fail("38");
                                 }),
                        "38");
      std::atomic<int> done = 0;
      pool.run(threads, [&](Index, Index) { ++done; });
      CHECK(done == threads);
    }
  }
}

TEST_CASE("a run inside a run, or two threads on one pool, are refused") {
  ThreadPool pool(3);
  for (Index tasks : {1, 3})
    CHECK_THROWS_WITH(pool.run(tasks, [&](Index, Index) { pool.run(3, [](Index, Index) {}); }),
                      Catch::Contains("runs already"));
  pool.run(3, [&](Index task, Index) {
    if (task != 0) return;
    std::thread other([&] { CHECK_THROWS_WITH(pool.run(2, [](Index, Index) {}), Catch::Contains("runs already")); });
    other.join();
  });
  int after = 0;
  pool.run(1, [&](Index, Index) { ++after; });
  CHECK(after == 1);
}

TEST_CASE("a pool that is not used does not compute") {
  ThreadPool pool(4);
  pool.run(4, [](Index, Index) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(processor_seconds() - before < 0.05);
}

TEST_CASE("workers round as the calling thread does") {
  const KeepEnvironment keep;
  const float nearest = third();
  for (Index threads : {1, 4}) {
    for (const int mode : {FE_UPWARD, FE_DOWNWARD}) {
      REQUIRE(std::fesetround(mode) == 0);
      const float expected = third();
      const std::vector<float> found = computed(threads, third);
      REQUIRE(std::fesetround(FE_TONEAREST) == 0);
      CHECK((expected != nearest) == (mode == FE_DOWNWARD));  // 1/3 rounds up to the nearest float
      CHECK(found == std::vector<float>(found.size(), expected));
    }
    const std::vector<float> found = computed(threads, third);
    CHECK(found == std::vector<float>(found.size(), nearest));
  }
}

TEST_CASE("the threads of one pool follow the environment from run to run") {
  const KeepEnvironment keep;
  ThreadPool pool(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    REQUIRE(std::fesetround(repeat % 2 == 0 ? FE_DOWNWARD : FE_TONEAREST) == 0);
    const float expected = third();
    std::vector<float> found(3);
    // The task leaves another mode behind on the workers; the next run begins with the caller's all the same. Each
    // worker gets one of them, as none ends before all have begun.
    std::atomic<int> begun = 0;
    pool.run(3, [&](Index task, Index worker) {
      for (++begun; begun < 3;) std::this_thread::yield();
      found[static_cast<std::size_t>(task)] = third();
      if (worker != 0) std::fesetround(FE_UPWARD);
    });
    REQUIRE(std::fesetround(FE_TONEAREST) == 0);
    CHECK(found == std::vector<float>(3, expected));
  }
}

#if MOEVIT_HAS_MXCSR

TEST_CASE("workers flush denormals, or do not, as the calling thread does") {
  const KeepEnvironment keep;
  const auto halve_smallest_normal = [] {
    volatile float value = std::numeric_limits<float>::min(), half = 0.5f;
    return value * half;
  };
  const auto add_denormal = [] {
    volatile float value = std::numeric_limits<float>::denorm_min(), none = 0.f;
    return value + none;
  };
  constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040;
  const unsigned usual = _mm_getcsr() & ~(flush_to_zero | denormals_are_zero);
  for (const unsigned bits : {0u, flush_to_zero, denormals_are_zero, flush_to_zero | denormals_are_zero})
    for (Index threads : {1, 4}) {
      _mm_setcsr(usual | bits);
      const std::vector<float> products = computed(threads, halve_smallest_normal);
      const std::vector<float> sums = computed(threads, add_denormal);
      _mm_setcsr(usual);  // comparing would take denormals for zeros, too
      const float product = (bits & flush_to_zero) ? 0.f : halve_smallest_normal();
      const float sum = bits ? 0.f : std::numeric_limits<float>::denorm_min();
      CHECK(products == std::vector<float>(products.size(), product));
      CHECK(sums == std::vector<float>(sums.size(), sum));
    }
}

TEST_CASE("exceptions trap on workers if they do on the calling thread") {
  const KeepEnvironment keep;
  ThreadPool pool(4);
  constexpr unsigned divide_by_zero_masked = 0x0200;
  const auto masks_of_workers = [&] {
    std::vector<unsigned> masks(4);
    pool.run(4,
             [&](Index task, Index) { masks[static_cast<std::size_t>(task)] = _mm_getcsr() & divide_by_zero_masked; });
    return masks;
  };
  CHECK(masks_of_workers() == std::vector<unsigned>(4, divide_by_zero_masked));
  _mm_setcsr(_mm_getcsr() & ~divide_by_zero_masked);
  CHECK(masks_of_workers() == std::vector<unsigned>(4, 0));
}

#endif
