// Arena, executors and workspace.
#include <moevit/core/parameter.hpp>
#include <moevit/core/thread_pool.hpp>
#include <moevit/core/workspace.hpp>

#include "catch.hpp"

#include <atomic>
#include <cstdint>
#include <numeric>

using namespace moevit;

TEST_CASE("an arena hands out cache lines like a stack and says when it is too small") {
  Arena arena(256);
  {
    const Arena::Scope scope(arena);
    float* a = arena.take<float>(3);
    float* b = arena.take<float>(16);
    CHECK(reinterpret_cast<std::uintptr_t>(a) % 64 == 0);
    CHECK(b - a == 16);
    CHECK_THROWS_WITH(arena.take<float>(33), Catch::Contains("expected at most 256 bytes, needed 320"));
  }
  CHECK(arena.peak() == 128);
  CHECK_NOTHROW(arena.take<float>(64));
  CHECK(arena.peak() == 256);
}

TEST_CASE("every executor runs each task once and passes exceptions on") {
  for (Index threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    for (Index tasks : {0, 1, 2, 7, 100}) {
      std::vector<std::atomic<int>> done(static_cast<std::size_t>(tasks));
      std::atomic<int> wrong_workers = 0;
      ExecutorRef(pool).run(tasks, [&](Index task, Index worker) {
        if (worker < 0 || worker >= threads) ++wrong_workers;
        ++done[static_cast<std::size_t>(task)];
      });
      CHECK(wrong_workers == 0);
      for (const auto& count : done) CHECK(count == 1);
    }
    CHECK_THROWS_WITH(ExecutorRef(pool).run(10,
                                            [](Index task, Index) {
                                              if (task == 9) fail("task nine");
                                            }),
                      "task nine");
    int after = 0;
    pool.run(1, [&](Index, Index) { ++after; });
    CHECK(after == 1);
  }
  CHECK_THROWS_AS(ThreadPool(0), Error);
}

TEST_CASE("rows are cut into blocks of nearly equal height that cover them once") {
  for (Index rows : {0, 1, 5, 111, 112, 113, 500}) {
    Workspace workspace({0, 64});
    std::vector<int> seen(static_cast<std::size_t>(rows), 0);
    workspace.parallel_rows(rows, 112, [&](Index first, Index count, Arena&) {
      CHECK(count <= largest_block(rows, 112));
      for (Index row = first; row < first + count; ++row) ++seen[static_cast<std::size_t>(row)];
    });
    CHECK(std::accumulate(seen.begin(), seen.end(), 0) == rows);
  }
}

TEST_CASE("a parameter keeps its logical order in panels and in stacks") {
  std::vector<float> first(2 * 8), second(2 * 8);
  const Parameter parameter{"kernel",
                            {2, 2, 3},
                            Role::expert,
                            {first.data(), second.data()},
                            {.rows = 2, .cols = 3, .first_column = 3, .panel = 4}};
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 1.f);
  parameter.assign(values);
  CHECK(first[3] == 1.f);   // row 0, column 3 of panel 0
  CHECK(first[8] == 2.f);   // row 0, column 0 of panel 1
  CHECK(first[13] == 6.f);  // row 1, column 1 of panel 1
  CHECK(second[3] == 7.f);
  CHECK(parameter.values() == values);
  CHECK_THROWS_WITH(parameter.assign(std::span(values).first(11)),
                    Catch::Contains("kernel") && Catch::Contains("expected 12"));
}
