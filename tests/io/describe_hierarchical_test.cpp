// Which Swin or CvT a file is for: from the names of all libraries, from backbones, with experts, and from damaged
// files.
#include "catch.hpp"
#include "errors.hpp"
#include "io/draft.hpp"

#include <moevit/io/cpp_type.hpp>
#include <moevit/io/describe.hpp>
#include <moevit/models/cvt_presets.hpp>
#include <moevit/models/swin_presets.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr SwinConfig shrunk{.image = 24,
                            .patch = 2,
                            .dim = 8,
                            .depths = {1, 2, 1},
                            .heads = {1, 2, 4},
                            .window = 4,
                            .mlp_ratio = 2.f,
                            .classes = 3};
constexpr SwinConfig whole{
    .image = 32, .patch = 2, .dim = 8, .depths = {1, 2, 1}, .heads = {1, 2, 4}, .window = 4, .classes = 3};

InferredModel inferred_from(const Draft& draft) { return describe(draft.file()); }

template <class Net>
void expect_inferred(const NameTable& table, std::size_t assumptions, Activation activation) {
  CAPTURE(table.name);
  const Net net;
  const InferredModel found = inferred_from(foreign_draft(net, table));
  ModelDescription expected = net.description();
  (expected.is_swin() ? expected.swin.activation : expected.cvt.activation) = activation;
  CHECK(cpp_type(found.description) == cpp_type(expected));
  CHECK(found.naming == table.name);
  CHECK(found.assumptions.size() == assumptions);
}

}  // namespace

TEST_CASE("describe: a Swin under the names of all libraries") {
  for (const NameTable* table : {&swin_names, &swin_timm_names, &swin_hugging_face_names}) {
    expect_inferred<Swin<shrunk>>(*table, 1, Activation::gelu_erf);  // its last window tells the size of images
    expect_inferred<Swin<whole>>(*table, 2, Activation::gelu_erf);
  }
}

TEST_CASE("describe: a Swin with experts, backbones, and our names without metadata") {
  constexpr MoeConfig moe{.experts = 3, .selected = 1, .placement = blocks({1, 3})};
  expect_inferred<Swin<whole, moe>>(swin_names, 3, Activation::gelu_erf);
  constexpr MoeConfig cosine{.experts = 3, .placement = blocks({2}), .router = RouterKind::cosine};
  expect_inferred<Swin<whole, cosine>>(swin_names, 3, Activation::gelu_erf);
  expect_inferred<Swin<whole, moe>>(own_names, 3, Activation::gelu_erf);
  static constexpr SwinConfig maps = [] {
    SwinConfig config = whole;
    config.form = WindowForm::pad, config.output_norms = {true, false, true, false}, config.classes = 0;
    config.qkv_bias = false, config.patch_norm = false;
    return config;
  }();
  expect_inferred<Swin<maps>>(swin_names, 2, Activation::gelu_erf);
}

TEST_CASE("describe: published models") {
  const auto swin = std::make_unique<Model<presets::swin_t>>();
  CHECK(inferred_from(foreign_draft(*swin, swin_timm_names)).description.swin == presets::swin_t.swin);
  const auto cvt = std::make_unique<Model<presets::cvt_13>>();
  CHECK(inferred_from(foreign_draft(*cvt, cvt_names)).description.cvt == presets::cvt_13.cvt);
}

TEST_CASE("describe: a CvT under the names of all libraries") {
  static constexpr CvtConfig with_token{.depths = {1, 2, 0, 0},
                                        .dims = {64, 128, 0, 0},
                                        .heads = {1, 2, 0, 0},
                                        .mlp_ratios = {2.f, 1.f, 4.f, 4.f},
                                        .classes = 3};
  static constexpr CvtConfig without = [] {
    CvtConfig config = with_token;
    config.class_token = false, config.qkv_bias = false;
    return config;
  }();
  const auto same_type = [&]<class Net>(const Net& net, const NameTable& table, Activation activation) {
    CAPTURE(table.name);
    const CvtConfig found = inferred_from(foreign_draft(net, table)).description.cvt;
    CHECK(found.depths == net.config.depths);
    CHECK(found.dims == net.config.dims);
    CHECK(found.class_token == net.config.class_token);
    CHECK(found.qkv_bias == net.config.qkv_bias);
    CHECK(found.mlp_ratios == net.config.mlp_ratios);
    CHECK(found.classes == 3);
    CHECK(found.activation == activation);
    CHECK(found.embedding_window(0) == net.config.embedding_window(0));
    CHECK(found.embedding_window(1) == net.config.embedding_window(1));
  };
  same_type(Cvt<with_token>(), cvt_names, Activation::gelu_quick);
  same_type(Cvt<without>(), cvt_names, Activation::gelu_quick);
  same_type(Cvt<with_token>(), cvt_hugging_face_names, Activation::gelu_erf);
  same_type(Cvt<with_token>(), own_names, Activation::gelu_quick);
}

TEST_CASE("describe: what a Swin or CvT lacks is named") {
  Draft draft = foreign_draft(Swin<whole>(), swin_timm_names);
  const std::string table = "layers.1.blocks.0.attn.relative_position_bias_table";
  draft.tensors.erase(table);
  CHECK(contains(error_of([&] { inferred_from(draft); }),
                 "no parameter stages.1.blocks.0.attention.relative_position_bias of rank 2"));
  draft.tensors[table] = {{50, 2}, std::vector<float>(100)};
  CHECK(contains(error_of([&] { inferred_from(draft); }), "50 relative positions"));
  draft = foreign_draft(Swin<whole>(), swin_timm_names);
  draft.tensors["patch_embed.proj.weight"] = {{8, 12}, std::vector<float>(96)};
  CHECK(contains(error_of([&] { inferred_from(draft); }), "stages.0.embedding.projection.kernel of rank 4"));
}
