/// Inferring a model from names and shapes, and writing it as C++.
#include "catch.hpp"

#include <moevit/io/cpp_type.hpp>
#include <moevit/io/describe.hpp>
#include <moevit/io/weights.hpp>
#include <moevit/moevit.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace moevit;

namespace {

/// Names and shapes of a model under a naming; the data is not looked at.
template <class Model>
TensorFile file_of(const NameTable& table, TensorFile::Metadata metadata = {}) {
  const Model model;
  std::vector<StoredTensor> tensors;
  for (const ConstParameter& parameter : model.parameters()) {
    const auto slice = find_foreign(table, parameter.name, parameter.shape, {.vit = Model::config, .moe = Model::moe});
    REQUIRE(slice);
    if (tensors.empty() || tensors.back().name != slice->name) {
      const auto same = [&](const StoredTensor& tensor) { return tensor.name == slice->name; };
      if (std::none_of(tensors.begin(), tensors.end(), same)) tensors.push_back({slice->name, "F32", slice->shape, {}});
    }
  }
  return TensorFile("file", nullptr, std::move(tensors), std::move(metadata));
}

template <class Model>
void expect_inferred(const NameTable& table, std::size_t assumptions) {
  const InferredModel inferred = describe(file_of<Model>(table));
  CHECK(inferred.naming == table.name);
  std::string lines;
  for (const std::string& line : differences(Model().description(), inferred.description)) lines += line + "\n";
  CHECK(lines.empty());
  INFO(inferred.assumptions.size() << " assumptions, the first: " << inferred.assumptions.front());
  CHECK(inferred.assumptions.size() == assumptions);
}

constexpr VitConfig base{
    .image = 16, .patch = 4, .channels = 1, .dim = 12, .depth = 4, .heads = 3, .hidden = 20, .classes = 5};

}  // namespace

TEST_CASE("describe: what names and shapes of the reference tell") {
  expect_inferred<Vit<base>>(vmoe_names, 1);
  expect_inferred<Vit<base>>(vit_jax_names, 1);
  expect_inferred<VMoe<base, MoeConfig{.experts = 4, .selected = 2, .placement = last_odd(2)}>>(vmoe_names, 3);
  expect_inferred<VMoe<base, MoeConfig{.experts = 4, .selected = 2, .placement = every(4), .hidden = 8}>>(vmoe_names,
                                                                                                          3);
  expect_inferred<VMoe<base, MoeConfig{.experts = 4, .selected = 2, .placement = blocks({0, 1})}>>(vmoe_names, 3);
  expect_inferred<VMoe<base, MoeConfig{.experts = 4, .placement = last_odd(1), .members = 2}>>(vmoe_names, 2);
  expect_inferred<VMoe<base, MoeConfig{.experts = 4, .placement = last(2), .router = RouterKind::soft, .slots = 3}>>(
      vmoe_names, 1);
  expect_inferred<MobileVMoe<base, MoeConfig{.experts = 4, .placement = last(2)}>>(vmoe_names, 3);
  expect_inferred<MobileVMoe<base, MoeConfig{.experts = 4, .placement = last(4)}>>(vmoe_names, 3);
  constexpr VitConfig map{.image = 16,
                          .patch = 4,
                          .dim = 12,
                          .depth = 1,
                          .heads = 3,
                          .hidden = 20,
                          .classes = 0,
                          .representation = 7,
                          .head = Head::map,
                          .qk_norm = QkNorm::scale};
  expect_inferred<Vit<map>>(vmoe_names, 1);
  constexpr VitConfig wide{.image = 8,
                           .patch = 4,
                           .dim = 12,
                           .depth = 1,
                           .heads = 3,
                           .hidden = 20,
                           .classes = 2,
                           .image_width = 24,
                           .patch_width = 8,
                           .head_width = 6,
                           .head = Head::mean};
  const InferredModel inferred = describe(file_of<Vit<wide>>(vmoe_names));
  CHECK(inferred.description.vit.patch_width == 8);
  CHECK(inferred.description.vit.head_width == 6);
  CHECK(inferred.description.vit.patches() == wide.patches());
  CHECK(inferred.assumptions.size() == 3);  // head, grid, library defaults
}

TEST_CASE("describe: PyTorch's namings do not tell the heads unless their width is known") {
  constexpr VitConfig timm{.image = 16,
                           .patch = 4,
                           .dim = 128,
                           .depth = 2,
                           .heads = 2,
                           .hidden = 20,
                           .classes = 5,
                           .activation = Activation::gelu_erf,
                           .qkv_bias = false};
  expect_inferred<Vit<timm>>(timm_names, 2);
  constexpr VitConfig normed{.image = 16,
                             .patch = 4,
                             .dim = 12,
                             .depth = 2,
                             .heads = 3,
                             .hidden = 20,
                             .classes = 5,
                             .head = Head::mean,
                             .unread_class_token = true,
                             .activation = Activation::gelu_erf,
                             .qk_norm = QkNorm::scale_and_bias,
                             .final_norm = FinalNorm::after_pooling,
                             .layer_scale = true};
  expect_inferred<Vit<normed>>(timm_names, 1);
  constexpr VitConfig face{.image = 16,
                           .patch = 4,
                           .dim = 64,
                           .depth = 2,
                           .heads = 1,
                           .hidden = 20,
                           .classes = 5,
                           .activation = Activation::gelu_erf,
                           .epsilon = 1e-12f};
  expect_inferred<Vit<face>>(hugging_face_names, 2);
  expect_inferred<Vit<face>>(hugging_face_5_names, 2);
  constexpr VitConfig flat{.image = 16,
                           .patch = 4,
                           .dim = 32,
                           .depth = 2,
                           .heads = 2,
                           .hidden = 20,
                           .classes = 5,
                           .head_width = 64,
                           .activation = Activation::gelu_erf,
                           .epsilon = 1e-5f};
  expect_inferred<Vit<flat>>(vit_pytorch_names, 3);
}

TEST_CASE("describe: our own files say everything") {
  using Model = VMoe<
      VitConfig{
          .image = 16, .patch = 4, .dim = 12, .depth = 4, .heads = 3, .hidden = 20, .activation = Activation::relu},
      MoeConfig{.experts = 4, .router = RouterKind::expert_choice, .capacity_multiple = 1}>;
  const Model model;
  const InferredModel inferred =
      describe(file_of<Model>(own_names, to_metadata({model.description(), model.preprocessing(), {}})));
  CHECK(inferred.description == model.description());
  CHECK(inferred.assumptions.empty());
  CHECK(inferred.naming == "own");
}

TEST_CASE("describe: files of something else") {
  const auto file = [](std::vector<StoredTensor> tensors) { return TensorFile("file", nullptr, std::move(tensors)); };
  CHECK_THROWS_WITH(describe(file({{"conv1.weight", "F32", {3}, {}}})), Catch::Contains("known naming"));
  CHECK_THROWS_WITH(describe(file({{"pos_embed", "F32", {1, 2, 3}, {}}})), Catch::Contains("no patch embedding"));
  CHECK_THROWS_WITH(describe(file({{"patch_embed.proj.weight", "F32", {8, 3, 4}, {}}})),
                    Catch::Contains("no patch embedding"));
  CHECK_THROWS_WITH(describe(file({{"patch_embed.proj.weight", "F32", {8, 3, 4, 4}, {}}})),
                    Catch::Contains("no block 0"));
}

TEST_CASE("describe: C++ to paste") {
  constexpr ModelDescription model{ModelFamily::mobile_vmoe,
                                   {.image = 28,
                                    .patch = 4,
                                    .channels = 1,
                                    .dim = 64,
                                    .depth = 4,
                                    .heads = 4,
                                    .hidden = 128,
                                    .classes = 10,
                                    .head = Head::mean,
                                    .qkv_bias = false,
                                    .epsilon = 1e-5f},
                                   {.experts = 5, .placement = last(2), .scale_by_gate = false}};
  const std::string vit =
      ".image = 28, .patch = 4, .channels = 1, .dim = 64, .depth = 4, .heads = 4, .hidden = 128, .classes = 10, "
      ".head = moevit::Head::mean, .qkv_bias = false, .epsilon = 1e-05f";
  const std::string moe =
      "moevit::MoeConfig{.experts = 5, .selected = 1, .placement = moevit::last(2), .scale_by_gate = false}";
  CHECK(cpp_type(model) == "moevit::MobileVMoe<moevit::VitConfig{" + vit + "}, " + moe + ">");
  CHECK(cpp_declaration(model) ==
        "constexpr moevit::VitConfig config{" + vit + "};\nstruct Net : moevit::MobileVMoe<config, " + moe + "> {};\n");
  CHECK(cpp_text(blocks({1, 3})) == "moevit::blocks({1, 3})");
  CHECK(cpp_text(1.0f) == "1.0f");
}

TEST_CASE("describe: every field of the configurations is listed") {
  // A structured binding needs exactly as many names as there are fields, so a new field fails to compile here.
  [[maybe_unused]] const auto [v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15, v16, v17, v18, v19,
                               v20, v21, v22, v23] = VitConfig{};
  [[maybe_unused]] const auto [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13] = MoeConfig{};
  std::size_t vit_fields = 0, moe_fields = 0;
  const VitConfig vit;
  const MoeConfig moe;
  for_each_field(vit, [&](const char*, const auto&) { ++vit_fields; });
  for_each_field(moe, [&](const char*, const auto&) { ++moe_fields; });
  CHECK(vit_fields == 23);
  CHECK(moe_fields == 13);
}
