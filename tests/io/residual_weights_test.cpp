// Files of residual models: core and residuals once, read back to the same bits; merged ones are files of plain models.
#include "catch.hpp"
#include "errors.hpp"
#include "io/temporary_folder.hpp"
#include "random_values.hpp"

#include <moevit/io/safetensors.hpp>
#include <moevit/io/weights.hpp>
#include <moevit/models/merge_residuals.hpp>
#include <moevit/moevit.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr VitConfig vit{
    .image = 8, .patch = 4, .channels = 1, .dim = 32, .depth = 2, .heads = 2, .hidden = 128, .classes = 3};
constexpr MoeConfig moe{.experts = 8, .selected = 1, .placement = every(2), .scale_by_gate = false};
constexpr SwinConfig swin{.image = 8,
                          .patch = 2,
                          .channels = 1,
                          .dim = 8,
                          .depths = {1, 1, 0, 0},
                          .heads = {2, 2, 0, 0},
                          .window = 2,
                          .mlp_ratio = 2.f,
                          .classes = 3};

template <Index rank>
struct ResidualVit : Vit<vit, SparseMlp<TopKRouter<32, 8>, ResidualExpertBank<ConfiguredMlp<vit>, rank>, moe>> {};
struct ResidualSwin : Swin<swin, moe, CoreAndResiduals> {};

template <class Net>
void check_round_trip(const std::filesystem::path& path) {
  Net net, loaded;
  randomise(net.parameters(), 3);
  save(net, path);
  load(loaded, path);
  const std::vector<ConstParameter> expected = std::as_const(net).parameters(),
                                    found = std::as_const(loaded).parameters();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(expected[i].name);
    CHECK(found[i].values() == expected[i].values());
  }
}

}  // namespace

TEST_CASE("residual models are saved and loaded") {
  const TemporaryFolder folder;
  check_round_trip<ResidualVit<full_rank>>(folder / "whole.safetensors");
  check_round_trip<ResidualVit<2>>(folder / "factors.safetensors");
  check_round_trip<ResidualSwin>(folder / "swin.safetensors");
  const TensorFile file = read_safetensors(folder / "factors.safetensors");
  CHECK(file.find("blocks.1.moe.experts.core.hidden.kernel")->shape == Shape{32, 128});
  CHECK(file.find("blocks.1.moe.experts.residual.hidden.left.kernel")->shape == Shape{8, 32, 2});
  ResidualVit<full_rank> other;
  CHECK_THROWS_AS(load(other, folder / "factors.safetensors"), Error);
}

TEST_CASE("a file of residuals of low rank is smaller than one of its experts, and a merged one is a plain model's") {
  const TemporaryFolder folder;
  ResidualVit<2> net;
  randomise(net.parameters(), 3);
  const auto merged = merge_residuals(net);
  save(net, folder / "factors.safetensors");
  save(merged, folder / "merged.safetensors");
  const auto bytes = [&](const char* name) { return static_cast<Index>(std::filesystem::file_size(folder / name)); };
  CHECK(bytes("merged.safetensors") - bytes("factors.safetensors") > 6 * 2 * 32 * 128 * 4);  // of 7 copies of an MLP
  VMoe<vit, moe> plain;
  load(plain, folder / "merged.safetensors");
  for (const ConstParameter& parameter : std::as_const(plain).parameters()) {
    const auto same = [&](const ConstParameter& other) { return other.name == parameter.name; };
    const std::vector<ConstParameter> expected = merged.parameters();
    const auto found = std::ranges::find_if(expected, same);
    REQUIRE(found != expected.end());
    CHECK(found->values() == parameter.values());
  }
}
