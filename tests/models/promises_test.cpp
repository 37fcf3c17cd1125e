// What every model promises: same bits for any threads, batch and place; no allocation; scratch as bounded; exact work.
#include "allocation_counter.hpp"
#include "catch.hpp"
#include "same_bits.hpp"
#include "small_models.hpp"

#include <cmath>
#include <iostream>
#include <limits>
#include <thread>

namespace {

using namespace small_models;
using test::same_bits;

bool same_choices(const SparsePlan& a, const SparsePlan& b) {
  return std::equal(a.choices().begin(), a.choices().end(), b.choices().begin(), b.choices().end(),
                    [](const Choice& x, const Choice& y) {
                      return x.token == y.token && x.rank == y.rank && x.expert == y.expert && x.slot == y.slot &&
                             x.gate == y.gate;
                    });
}

constexpr Index batch = 7;

}  // namespace

TEST_CASE("logits and plans have the same bits for any number of threads and on every run") {
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    const std::vector<float> images = random_images<Net>(batch, 1);
    Context one = net.context({.images = batch});
    const std::vector<float> expected = run_model(net, images, one);
    for (float value : expected) REQUIRE(std::isfinite(value));
    REQUIRE(same_bits(expected, run_model(net, images, one)));
    for (Index threads = 2; threads <= 8; ++threads) {
      Context many = net.context({.images = batch, .threads = threads});
      REQUIRE(same_bits(expected, run_model(net, images, many)));
      for (int block = 0; block < one.depth(); ++block)
        if (one.is_sparse(block)) REQUIRE(same_choices(one.plan(block), many.plan(block)));
    }
  });
}

TEST_CASE("with limited capacity, too, plan and logits have the same bits for any number of threads") {
  TopK net;
  for_each_model([&]<class Net>(const std::string&, const Net& model) {
    if constexpr (std::is_same_v<Net, TopK>) net = model;
  });
  const std::vector<float> images = random_images<TopK>(batch, 2);
  for (const Priority priority : {Priority::position, Priority::max_gate, Priority::sum_of_gates}) {
    std::vector<float> expected;
    for (Index threads = 1; threads <= 4; ++threads) {
      Context run = net.context({.images = batch, .threads = threads});
      run.routing.capacity_ratio = 0.5;
      run.routing.priority = priority;
      const std::vector<float> logits = run_model(net, images, run);
      if (threads == 1) expected = logits;
      REQUIRE(same_bits(expected, logits));
      REQUIRE(run.plan(3).rows() < 2 * run.plan(3).tokens());
    }
  }
}

TEST_CASE("an image's logits have the same bits alone and at any place of any batch") {
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    const std::vector<float> images = random_images<Net>(batch, 3);
    const auto size = static_cast<std::size_t>(Net::config.image_values()),
               outputs = static_cast<std::size_t>(Net::outputs_per_image * Net::config.outputs());
    Context run = net.context({.images = batch});
    const std::vector<float> together = run_model(net, images, run);
    for (Index count = 1; count < batch; ++count)
      for (Index first = 0; first + count <= batch; first += count) {
        const auto part =
            std::span(images).subspan(static_cast<std::size_t>(first) * size, static_cast<std::size_t>(count) * size);
        const std::vector<float> logits = run_model(net, part, run);
        REQUIRE(
            same_bits(logits, std::span(together).subspan(static_cast<std::size_t>(first) * outputs, logits.size())));
      }
  });
}

TEST_CASE("a const model serves many threads at once") {
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    const std::vector<float> images = random_images<Net>(3, 4);
    Context run = net.context({.images = 3});
    const std::vector<float> expected = run_model(net, images, run);
    std::vector<int> equal(4, 0);
    std::vector<std::thread> threads;
    for (int& result : equal)
      threads.emplace_back([&] {
        Context own = net.context({.images = 3});
        result = same_bits(expected, run_model(net, images, own));
      });
    for (std::thread& thread : threads) thread.join();
    for (int result : equal) CHECK(result == 1);
  });
}

TEST_CASE("a forward pass allocates nothing") {
  if (!allocation_counter::available()) {
    std::cout << "skipped: allocations are counted with glibc and without sanitizers only\n";
    return;
  }
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    const std::vector<float> images = random_images<Net>(batch, 5);
    std::vector<float> logits(static_cast<std::size_t>(batch * Net::outputs_per_image * Net::config.outputs()));
    for (Index threads : {1, 2}) {
      INFO(name << ", " << threads << " threads");
      Context run = net.context({.images = batch, .threads = threads});
      allocation_counter::start();
      net.forward(images, logits, run);
      run.routing.priority = Priority::max_gate;
      if (run.routing.capacity_ratio == unlimited) run.routing.capacity_ratio = 0.5;
      net.forward(images, logits, run);
      CHECK(allocation_counter::stop() == 0);
    }
  });
  allocation_counter::start();
  AlignedBuffer<float> proof(3);
  CHECK(allocation_counter::stop() == 1);
}

TEST_CASE("scratch is what the bound says, and the worst case reaches it") {
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    Context run = net.context({.images = batch});
    CHECK(Net::scratch_bytes(batch, 1) ==
          run.workspace().shared().capacity() + run.workspace().worker_arenas().front().capacity());
    run_model(net, random_images<Net>(batch, 6), run);
    CHECK(run.workspace().shared().peak() == run.workspace().shared().capacity());
    CHECK(run.workspace().worker_arenas().front().peak() <= run.workspace().worker_arenas().front().capacity());
  });
  // All tokens on one expert is the worst case of a worker: zero router weights make every tie go to expert 0.
  VMoe<config, MoeConfig{.experts = 6, .selected = 1, .hidden = 200, .bf16_dispatch = true}> net;
  Context run = net.context({.images = 6});  // 102 tokens: one block of rows
  run_model(net, random_images<decltype(net)>(6, 6), run);
  CHECK(run.plan(3).kept(0) == run.plan(3).tokens());
  CHECK(run.workspace().worker_arenas().front().peak() == run.workspace().worker_arenas().front().capacity());
}

TEST_CASE("experts compute exactly the rows of the plan") {
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    if constexpr (Net::moe.router != RouterKind::soft) {
      Context run = net.context({.images = batch});
      for (const double ratio : {unlimited, 1.0, 0.3}) {
        if (Net::moe.router == RouterKind::expert_choice && ratio == unlimited) continue;
        run.routing.capacity_ratio = ratio;
        run_model(net, random_images<Net>(batch, 8), run);
        Index rows = 0;
        for (int block = 0; block < run.depth(); ++block)
          if (run.is_sparse(block)) rows += run.plan(block).rows();
        CHECK(run.expert_rows() == rows);
        if (run.depth() && rows && ratio == unlimited)
          for (int block = 0; block < run.depth(); ++block)
            if (run.is_sparse(block)) CHECK(run.plan(block).rows() == run.plan(block).tokens() * run.routing.selected);
      }
    }
  });
}

TEST_CASE("k and the capacity change at run time") {
  TopK net;
  for_each_model([&]<class Net>(const std::string&, const Net& model) {
    if constexpr (std::is_same_v<Net, TopK>) net = model;
  });
  const std::vector<float> images = random_images<TopK>(4, 9);
  Context run = net.context({.images = 4});
  for (Index k : {1, 2, 3, 6}) {
    run.routing.selected = k;
    run_model(net, images, run);
    CHECK(run.plan(3).rows() == 4 * 17 * k);
  }
  run.routing.selected = 7;
  CHECK_THROWS_WITH(run_model(net, images, run), Catch::Contains("expected 1 to 6") && Catch::Contains("block 1"));
  run.routing.selected = 1;
  run.routing.capacity_ratio = 0.25;
  run.routing.group_images = 2;
  run_model(net, images, run);
  CHECK(run.plan(1).capacity() == 4);  // ceil(34 * 0.25 / 6) = 2, up to a multiple of 4
  run.routing.group_images = 3;
  CHECK_THROWS_WITH(run_model(net, images, run), Catch::Contains("multiple"));
  CHECK_THROWS_WITH(run.plan(0), Catch::Contains("expected a sparse block (1, 3)"));
}

TEST_CASE("a non-finite token is an error that names the block") {
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    std::vector<float> images = random_images<Net>(2, 10);
    images[5] = std::numeric_limits<float>::quiet_NaN();
    Context run = net.context({.images = 2});
    if constexpr (Net::sparse_blocks > 0 && Net::moe.router != RouterKind::random)
      CHECK_THROWS_WITH(run_model(net, images, run), Catch::Contains("block ") && Catch::Contains("finite"));
  });
}

TEST_CASE("wrong sizes are errors") {
  const DenseVit net;
  Context run = net.context({.images = 2});
  std::vector<float> images(2 * 16 * 16 * 2), logits(10);
  CHECK_NOTHROW(net.forward(images, logits, run));
  CHECK_THROWS_WITH(net.forward(std::span(images).first(511), logits, run), Catch::Contains("multiple of 512"));
  CHECK_THROWS_WITH(net.forward(images, std::span(logits).first(9), run), Catch::Contains("expected 10"));
  images.resize(3 * 512);
  logits.resize(15);
  CHECK_THROWS_WITH(net.forward(images, logits, run), Catch::Contains("at most the 2"));
  CHECK_NOTHROW(net.forward({}, {}, run));
  CHECK_THROWS_WITH(net.context({.images = 0}), Catch::Contains("at least 1 image"));
  CHECK_THROWS_WITH(net.context({.threads = 0}), Catch::Contains("at least 1 thread"));
}
