/// Loading and saving Swin transformers: our own files, three foreign namings, Tutel's experts, buffers.
#include "catch.hpp"
#include "io/temporary_folder.hpp"
#include "random_values.hpp"

#include <moevit/io/cpp_type.hpp>
#include <moevit/io/weights.hpp>
#include <moevit/models/swin_presets.hpp>

#include <map>
#include <memory>

using namespace moevit;
using moevit::test::TemporaryFolder;

namespace {

constexpr SwinConfig small{.image = 24,
                           .patch = 2,
                           .dim = 4,
                           .depths = {1, 2, 1},
                           .heads = {1, 2, 2},
                           .window = 3,
                           .classes = 3,
                           .absolute_positions = true};
using Small = Swin<small>;
using Sparse = Swin<small, MoeConfig{.experts = 3, .selected = 2, .placement = every(2)}>;
using Cosine = Swin<small, MoeConfig{.experts = 3, .placement = every(2), .router = RouterKind::cosine}>;
using Residual = Swin<small, MoeConfig{.experts = 3, .placement = every(2)}, CoreAndResiduals>;
using Maps = Model<presets::backbone(presets::swin(small))>;

template <class Model>
Model random_model() {
  Model model;
  unsigned seed = 1;
  for (const Parameter& parameter : model.parameters()) parameter.assign(test::normal_values(parameter.size(), seed++));
  return model;
}

template <class Model>
std::vector<float> all_values(const Model& model) {
  std::vector<float> all;
  for (const ConstParameter& parameter : model.parameters()) {
    const std::vector<float> values = parameter.values();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// Tensors of floats in memory.
struct Draft {
  std::map<std::string, std::pair<Shape, std::vector<float>>> tensors;

  TensorFile file() const {
    auto storage = std::make_shared<std::vector<std::vector<float>>>();
    for (const auto& [name, tensor] : tensors) storage->push_back(tensor.second);
    std::vector<StoredTensor> list;
    std::size_t number = 0;
    for (const auto& [name, tensor] : tensors)
      list.push_back({name, "F32", tensor.first, std::as_bytes(std::span((*storage)[number++]))});
    return TensorFile("draft", storage, std::move(list), {});
  }
};

/// The weights of a model under a foreign naming.
template <class Model>
Draft foreign_draft(const Model& model, const NameTable& table, const std::string& prefix = "") {
  Draft draft;
  for (const ConstParameter& parameter : model.parameters()) {
    const auto slice = find_foreign(table, parameter.name, parameter.shape, model.description());
    INFO(parameter.name);
    REQUIRE(slice);
    auto& [shape, values] = draft.tensors[prefix + slice->name];
    shape = slice->shape;
    values.resize(static_cast<std::size_t>(element_count(shape)));
    std::vector<float> places(static_cast<std::size_t>(parameter.size()));  // exact: these tensors are small
    detail::gather([](Index i) { return static_cast<float>(i); }, *slice, places);
    const std::vector<float> ours = parameter.values();
    for (std::size_t i = 0; i < ours.size(); ++i) values[static_cast<std::size_t>(places[i])] = ours[i];
  }
  return draft;
}

template <class Model>
void expect_loads_from(const NameTable& table, const std::string& prefix = "") {
  INFO(table.name);
  const auto model = random_model<Model>();
  Model loaded;
  Draft draft = foreign_draft(model, table, prefix);
  for (const char* buffer : {"relative_position_index", "attn_mask"})
    draft.tensors["layers.0.blocks.0.attn." + std::string(buffer)] = {{2}, {1.f, 2.f}};
  CHECK(load(loaded, draft.file()).naming == table.name);
  CHECK(all_values(loaded) == all_values(model));
}

template <class Model>
void expect_round_trip() {
  const TemporaryFolder folder;
  const auto model = random_model<Model>();
  save(model, folder / "model.safetensors");
  Model loaded;
  CHECK(load(loaded, folder / "model.safetensors").naming == "own");
  CHECK(all_values(loaded) == all_values(model));
  CHECK(read_metadata(read_safetensors(folder / "model.safetensors"))->description == model.description());
}

}  // namespace

TEST_CASE("Swin: what save() writes, load() restores") {
  expect_round_trip<Small>();
  expect_round_trip<Sparse>();
  expect_round_trip<Cosine>();
  expect_round_trip<Residual>();
  expect_round_trip<Maps>();
}

TEST_CASE("Swin: foreign namings, whose buffers are no weights") {
  constexpr SwinConfig unplaced{
      .image = 24, .patch = 2, .dim = 4, .depths = {1, 2, 1}, .heads = {1, 2, 2}, .window = 3, .classes = 3};
  expect_loads_from<Small>(swin_names);
  expect_loads_from<Swin<unplaced>>(swin_timm_names);
  expect_loads_from<Small>(swin_hugging_face_names);
  expect_loads_from<Small>(swin_hugging_face_names, "swin.");
  expect_loads_from<Sparse>(swin_names);
  expect_loads_from<Cosine>(swin_names);
  expect_loads_from<Maps>(swin_names);
  CHECK(foreign_draft(Small(), swin_names).tensors.at("absolute_pos_embed").first == Shape{1, 144, 4});
  CHECK(foreign_draft(Maps(), swin_names).tensors.at("absolute_pos_embed").first == Shape{1, 4, 12, 12});
  CHECK(foreign_draft(Maps(), swin_names).tensors.contains("norm2.weight"));
}

TEST_CASE("Swin: a file of another configuration is refused") {
  const TemporaryFolder folder;
  save(random_model<Small>(), folder / "model.safetensors");
  constexpr SwinConfig other{.image = 24, .patch = 2, .dim = 4, .depths = {1, 2, 1}, .heads = {1, 2, 2}, .window = 3};
  Swin<other> model;
  CHECK_THROWS_WITH(load(model, folder / "model.safetensors"),
                    Catch::Contains("swin.classes: expected 1000, found 3") &&
                        Catch::Contains("swin.absolute_positions: expected false, found true"));
}

TEST_CASE("Swin: biases by relative position are resized for another window on request") {
  constexpr SwinConfig narrow{
      .image = 24, .patch = 2, .dim = 4, .depths = {1, 1}, .heads = {1, 2}, .window = 2, .classes = 3};
  constexpr SwinConfig wide{
      .image = 24, .patch = 2, .dim = 4, .depths = {1, 1}, .heads = {1, 2}, .window = 3, .classes = 3};
  const auto source = random_model<Swin<narrow>>();
  Swin<wide> model;
  const Draft draft = foreign_draft(source, swin_names);
  CHECK_THROWS_WITH(load(model, draft.file()),
                    Catch::Contains("expected [25, 2], found [9, 2]") && Catch::Contains("resize_positions"));
  load(model, draft.file(), {.resize_positions = true});
  const auto table_of = [](const auto& net) {
    std::vector<float> table;
    for (const auto& parameter : net.parameters())
      if (parameter.name == "stages.1.blocks.0.attention.relative_position_bias") table = parameter.values();
    return table;
  };
  std::vector<float> want(25 * 2);
  resize_positions(PositionResampling::bicubic, table_of(source), {3, 3}, want, {5, 5}, 2);
  CHECK(table_of(model) == want);
}

TEST_CASE("Swin: the type of a description as C++") {
  CHECK(cpp_type(presets::swin_t) ==
        "moevit::Swin<moevit::SwinConfig{.image = 224, .patch = 4, .channels = 3, .dim = 96, .depths = {2, 2, 6, 2}, "
        ".heads = {3, 6, 12, 24}, .window = 7, .mlp_ratio = 4.0f, .classes = 1000}>");
  CHECK(cpp_declaration(Cosine().description()).starts_with("constexpr moevit::SwinConfig config{.image = 24, "));
  CHECK(cpp_type(Cosine().description(), "config") ==
        "moevit::Swin<config, moevit::MoeConfig{.experts = 3, .selected = 1, .placement = moevit::every(2), .router = "
        "moevit::RouterKind::cosine}>");
}
