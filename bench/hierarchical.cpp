/// Swin-T and CvT-13 from normalised images to logits, in float32 and bfloat16.
#include "common.hpp"

#include <moevit/models/cvt_presets.hpp>
#include <moevit/models/packed.hpp>
#include <moevit/models/swin_presets.hpp>

#include <algorithm>
#include <memory>

namespace moevit::bench {
namespace {

/// Whole models are compared with the implementations of their authors by the golden tests; here an image in a batch
/// must have the bits that it has alone, and the logits be those of float32 up to `tolerance`.
template <class Net, class Stored>
struct MapModelRun {
  static constexpr Index values = Net::config.image_values(), classes = Net::config.outputs();

  Index count;
  double tolerance;
  Net net;
  std::unique_ptr<Stored> stored;
  std::vector<std::vector<float>> images = random_inputs(count * values);
  std::vector<float> logits = std::vector<float>(static_cast<std::size_t>(count * classes));
  Context context = net.context({.images = count});

  MapModelRun(Index image_count, double allowed) : count(image_count), tolerance(allowed) {
    test::randomise(net.parameters(), 7);
    stored = std::make_unique<Stored>(net);
  }
  Work run(Index input) {
    stored->forward(images[static_cast<std::size_t>(input)], logits, context);
    return {.multiply_adds = static_cast<double>(count) * multiply_adds(net.description())};
  }
  void check(Index input) {
    const Index image = (input * 3 + count - 1) % count;
    const auto pixels = std::span(images[static_cast<std::size_t>(input)])
                            .subspan(static_cast<std::size_t>(image * values), static_cast<std::size_t>(values));
    std::vector<float> alone(static_cast<std::size_t>(classes));
    Context own = net.context({.images = 1});
    stored->forward(pixels, alone, own);
    if (!std::equal(alone.begin(), alone.end(), logits.begin() + image * classes))
      fail("an image has other logits in a batch than alone");
    std::vector<float> exact(alone.size());
    net.forward(pixels, exact, own);
    require_close({alone.data(), 1, classes}, reference::Matrix(1, classes, reference::to_double(exact)), tolerance);
  }
};

template <class Net, class Stored>
void add_model(const std::string& name, double tolerance) {
  for (const Index count : {1, 8})
    add(std::string("hierarchical/").append(name).append("/B").append(std::to_string(count)), [count, tolerance] {
      const auto run = std::make_shared<MapModelRun<Net, Stored>>(count, tolerance);
      return Case{[run](Index input) { return run->run(input); }, [run](Index input) { run->check(input); }};
    });
}

using SwinTiny = Model<presets::swin_t>;
using Cvt13 = Model<presets::cvt_13>;

const bool added = [] {
  add_model<SwinTiny, SwinTiny>("swin_t", 0);
  add_model<SwinTiny, Packed<SwinTiny, Bf16>>("swin_t_bf16", 0.1);
  add_model<Cvt13, Cvt13>("cvt_13", 0);
  add_model<Cvt13, Packed<Cvt13, Bf16>>("cvt_13_bf16", 0.1);
  return true;
}();

}  // namespace
}  // namespace moevit::bench
