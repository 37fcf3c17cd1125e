/// Resized position embeddings of both manifests.
#include "golden/manifest.hpp"

#include <moevit/io/resize_positions.hpp>
#include <moevit/train/transfer.hpp>

#include <array>
#include <string>
#include <utility>

using namespace moevit;
using namespace moevit::test;

TEST_CASE("golden: posembed_zoom") {
  std::size_t run = 0;
  for (const GoldenCase& golden : cases_of("posembed_zoom")) {
    const Index from = golden.config.at("source_grid"), to = golden.config.at("target_grid");
    const PositionGrid source{from, from, golden.config.at("source_has_token").get<bool>()};
    const PositionGrid target{to, to, golden.config.at("target_has_token").get<bool>()};
    std::vector<float> y = golden.floats("inputs/target");
    resize_positions(PositionResampling::zoom, golden.floats("inputs/source"), source, y, target,
                     golden.config.at("dim"));
    expect_close(golden, "outputs/y", y);
    ++run;
  }
  expect_all_run("posembed_zoom", run);
}

TEST_CASE("golden: transfer resizes positions as the authors' fine-tuning does") {
  std::size_t run = 0;
  for (const GoldenCase& golden : cases_of("posembed_zoom")) {
    const auto vit_of = [&](const std::string& side) {
      return VitConfig{.image = golden.config.at(side + "_grid"),
                       .patch = 1,
                       .dim = golden.config.at("dim"),
                       .head = golden.config.at(side + "_has_token").get<bool>() ? Head::class_token : Head::mean};
    };
    const VitConfig from = vit_of("source"), to = vit_of("target");
    std::vector<float> source = golden.floats("inputs/source"), target = golden.floats("inputs/target");
    const auto table = [](auto* values, const VitConfig& vit) {
      return BasicParameter<std::remove_pointer_t<decltype(values)>>{"position_embedding",
                                                                     {vit.tokens(), vit.dim},
                                                                     Role::embedding,
                                                                     {values},
                                                                     {.rows = vit.tokens(), .cols = vit.dim}};
    };
    const ConstParameter trained = table(static_cast<const float*>(source.data()), from);
    const Parameter ours = table(target.data(), to);
    transfer(std::span(&trained, 1), from, std::span(&ours, 1), to);
    expect_close(golden, "outputs/y", target);
    ++run;
  }
  expect_all_run("posembed_zoom", run);
}

TEST_CASE("golden: posembed_resample") {
  const std::array<std::pair<const char*, PositionResampling>, 4> outputs{{
      {"outputs/bilinear", PositionResampling::bilinear},
      {"outputs/bicubic", PositionResampling::bicubic},
      {"outputs/bilinear_antialias", PositionResampling::bilinear_antialiased},
      {"outputs/bicubic_antialias", PositionResampling::bicubic_antialiased},
  }};
  std::size_t run = 0;
  for (const GoldenCase& golden : cases_of("posembed_resample")) {
    const bool token = golden.config.at("prefix_tokens").get<int>() == 1;
    const PositionGrid source{golden.config.at("from").at(0), golden.config.at("from").at(1), token};
    const PositionGrid target{golden.config.at("to").at(0), golden.config.at("to").at(1), token};
    const Index dim = golden.config.at("dim");
    std::size_t compared = 0;
    for (const auto& [name, resampling] : outputs) {
      if (!golden.has(name)) continue;
      std::vector<float> y(static_cast<std::size_t>(target.tokens() * dim));
      resize_positions(resampling, golden.floats("inputs/pos_embed"), source, y, target, dim);
      expect_close(golden, name, y);
      ++compared;
    }
    std::size_t listed = 0;
    for (const StoredTensor& tensor : golden.tensors.tensors()) listed += tensor.name.starts_with("outputs/");
    CHECK(compared == listed);
    ++run;
  }
  expect_all_run("posembed_resample", run);
}
