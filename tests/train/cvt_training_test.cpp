// Training runs of a CvT: it learns, its running statistics follow, and it goes on where it was ended.
#include "catch.hpp"
#include "train/resumed_runs.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

struct TinyCvt : Cvt<CvtConfig{.image = 8,
                               .channels = 1,
                               .depths = {1, 1},
                               .dims = {8, 12},
                               .heads = {2, 2},
                               .patches = {3, 3},
                               .patch_strides = {2, 2},
                               .patch_paddings = {1, 1},
                               .mlp_ratios = {2.f, 2.f},
                               .classes = 3}> {};

}  // namespace

TEST_CASE("a fresh CvT has the statistics of inputs with mean 0 and variance 1") {
  TinyCvt net;
  for (const Parameter& parameter : net.parameters())
    parameter.assign(std::vector<float>(static_cast<std::size_t>(parameter.size()), 7.f));
  initialise(net.parameters());
  std::size_t seen = 0;
  for (const auto& [name, values] : values_of(net)) {
    const bool is_mean = name.ends_with("running_mean"), is_variance = name.ends_with("running_variance");
    if (!is_mean && !is_variance) continue;
    CHECK(values == std::vector<float>(values.size(), is_mean ? 0.f : 1.f));
    ++seen;
  }
  CHECK(seen == 2 * 3 * 2);
}

TEST_CASE("a CvT learns, and its running statistics serve inference") {
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options(folder / "cvt");
  options.steps = 150;
  options.evaluate_every = 50;
  options.mixup = 0;
  const TrainingResult result = train<TinyCvt>(images(), options);
  CHECK(result.best_accuracy == 1.);
}

TEST_CASE("weight decay of everything leaves running statistics alone") {
  const TinyCvt net;
  for (const Parameter& parameter : TinyCvt(net).parameters())
    CHECK(is_any_parameter(parameter) == (parameter.name.find(".running_") == std::string::npos));
}

TEST_CASE("a run of a CvT that is ended anywhere goes on to the bits of an unbroken one") {
  TrainerOptions options = tiny_options({});
  options.router.noise_std = 0;
  check_resumes<TinyCvt>(options);
}
