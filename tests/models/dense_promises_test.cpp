// Segmenters and detectors: no allocation in steady state; scratch as bounded.
#include "allocation_counter.hpp"
#include "catch.hpp"
#include "models/small_dense_models.hpp"

#include <moevit/models/dense_backpropagation.hpp>

#include <iostream>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr MapSize size{13, 22}, smaller{9, 16};

template <class Net>
std::vector<float> room_for_logits(Index images, MapSize image) {
  return std::vector<float>(static_cast<std::size_t>(images * image.places() * Net::classes));
}

template <class Net>
void check_training_allocates_nothing(Index threads) {
  Net net, grads;
  randomise(net.parameters(), 1);
  Backpropagation run(net, {.images = 2, .threads = threads, .largest = size});
  const std::vector<float> images = random_images(2, size, Net::channels, 5);
  const std::vector<float> few = random_images(1, smaller, Net::channels, 5);
  std::vector<float> cotangent(static_cast<std::size_t>(Net::output_values(2, size)), 0.1f);
  const auto small = std::span(cotangent).first(static_cast<std::size_t>(Net::output_values(1, smaller)));
  const auto pass = [&] {
    run.forward(net, images, size);
    run.backward(net, cotangent, grads);
    run.forward(net, few, smaller);
    run.backward(net, small, grads);
  };
  pass();  // lists of views get their memory
  allocation_counter::start();
  pass();
  CHECK(allocation_counter::stop() == 0);
}

}  // namespace

TEST_CASE("forward passes of segmenters and detectors allocate nothing, nor do training passes after the first") {
  if (!allocation_counter::available()) {
    std::cout << "skipped: allocations are counted with glibc and without sanitizers only\n";
    return;
  }
  for (const Index threads : {1, 2}) {
    CAPTURE(threads);
    SparseSegmenter segmenter;
    SmallDetector detector;
    randomise(segmenter.parameters(), 1), randomise(detector.parameters(), 2);
    const std::vector<float> images = random_images(2, size, SmallSegmenter::channels, 5);
    std::vector<float> logits = room_for_logits<SmallSegmenter>(2, size);
    std::vector<float> outputs(static_cast<std::size_t>(SmallDetector::output_values(2, size)));
    Context run = segmenter.context({.images = 2, .threads = threads}, size);
    Context other = detector.context({.images = 2, .threads = threads}, size);
    allocation_counter::start();
    segmenter.segment(images, size, logits, run);
    segmenter.segment(images, size, logits, run, {.window = {8, 9}, .stride = {5, 9}});
    detector.forward(images, size, outputs, other);
    CHECK(allocation_counter::stop() == 0);
    check_training_allocates_nothing<SmallSegmenter>(threads);
    check_training_allocates_nothing<SmallDetector>(threads);
  }
}

TEST_CASE("scratch of segmenters and detectors is what the bound says, and a pass reaches it") {
  const auto check = [](const auto& net, auto run_model) {
    using Net = std::remove_cvref_t<decltype(net)>;
    Context run = net.context({.images = 2}, size);
    CHECK(Net::scratch(run.routing, 2, size).shared == run.workspace().shared().capacity());
    run_model(run);
    CHECK(run.workspace().shared().peak() == run.workspace().shared().capacity());
    CHECK(run.workspace().worker_arenas().front().peak() <= run.workspace().worker_arenas().front().capacity());
  };
  SmallSegmenter segmenter;
  SmallDetector detector;
  const std::vector<float> images = random_images(2, size, SmallSegmenter::channels, 5);
  std::vector<float> logits = room_for_logits<SmallSegmenter>(2, size);
  check(segmenter, [&](Context& run) { segmenter.segment(images, size, logits, run); });
  check(detector, [&](Context& run) { detector.detect(images, size, run); });
}
