/// Loading and saving whole models: every naming, every way not to fit, and what must survive.
#include "catch.hpp"
#include "io/draft.hpp"
#include "io/temporary_folder.hpp"
#include "parameter_values.hpp"

#include <moevit/io/weights.hpp>
#include <moevit/moevit.hpp>

#include <array>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace moevit;
using moevit::test::Draft;
using moevit::test::foreign_draft;
using moevit::test::TemporaryFolder;
using moevit::test::values_of;

namespace {

constexpr VitConfig small{
    .image = 8, .patch = 4, .channels = 3, .dim = 8, .depth = 2, .heads = 2, .hidden = 12, .classes = 3};
constexpr VitConfig larger{
    .image = 12, .patch = 4, .channels = 3, .dim = 8, .depth = 2, .heads = 2, .hidden = 12, .classes = 3};
using Small = Vit<small>;
using SmallMoe = VMoe<small, MoeConfig{.experts = 4, .selected = 2, .placement = last_odd(1)}>;
using SmallMobile = MobileVMoe<small, MoeConfig{.experts = 4, .placement = last(1)}>;
using SmallEnsemble = VMoe<small, MoeConfig{.experts = 4, .placement = last_odd(1), .members = 2}>;
using SmallSoft =
    VMoe<small, MoeConfig{.experts = 4, .placement = last_odd(1), .router = RouterKind::soft, .slots = 2}>;

/// A model whose every weight is another random number.
template <class Model>
Model random_model(unsigned seed) {
  Model model;
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  for (const Parameter& parameter : model.parameters()) {
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    for (float& value : values) value = uniform(engine);
    parameter.assign(values);
  }
  return model;
}

/// Loading must fail with every one of the texts and leave the model alone.
template <class Model>
void expect_refused(const TensorFile& file, const std::vector<std::string>& texts, const LoadOptions& options = {}) {
  Model model = random_model<Model>(7);
  model.set_class_names({"kept"});
  const std::vector<float> before = values_of(model);
  std::string message;
  try {
    load(model, file, options);
  } catch (const Error& error) {
    message = error.what();
  }
  for (const std::string& text : texts) CHECK_THAT(message, Catch::Contains(text));
  CHECK_THAT(message, Catch::Contains(file.path().string()));
  CHECK(values_of(model) == before);
  CHECK(model.class_names() == std::vector<std::string>{"kept"});
}

template <class Model>
void expect_round_trip() {
  const TemporaryFolder folder;
  Model saved = random_model<Model>(1);
  saved.set_class_names({"cat", "dog \"x\"", "\u00e9"});
  saved.set_preprocessing({.height = 8,
                           .width = 8,
                           .shorter_side = 9,
                           .interpolation = Interpolation::bilinear,
                           .mean = {0.1f, 0.2f, 0.3f},
                           .deviation = {1.5f}});
  save(saved, folder / "one.safetensors");
  save(saved, folder / "two.safetensors");
  std::ifstream one(folder / "one.safetensors", std::ios::binary), two(folder / "two.safetensors", std::ios::binary);
  CHECK(std::equal(std::istreambuf_iterator<char>(one), {}, std::istreambuf_iterator<char>(two), {}));

  Model loaded;
  CHECK(load(loaded, folder / "one.safetensors").naming == "own");
  CHECK(values_of(loaded) == values_of(saved));
  CHECK(loaded.class_names() == saved.class_names());
  CHECK(loaded.preprocessing() == saved.preprocessing());
  CHECK(read_metadata(read_safetensors(folder / "one.safetensors"))->description == saved.description());
}

/// The namings that have names for a vision transformer of one stage.
std::vector<const NameTable*> vit_tables() {
  std::vector<const NameTable*> tables;
  for (const NameTable* table : name_tables)
    if (find_foreign(*table, "class_token", {8}, {})) tables.push_back(table);
  return tables;
}

template <class Model>
void expect_loads_from(const NameTable& table, const std::string& prefix = "") {
  INFO(table.name);
  const Model model = random_model<Model>(2);
  Model loaded;
  CHECK(load(loaded, foreign_draft(model, table, prefix).file()).naming == table.name);
  CHECK(values_of(loaded) == values_of(model));
}

}  // namespace

TEST_CASE("weights: what save() writes, load() restores") {
  expect_round_trip<Small>();
  expect_round_trip<SmallMoe>();
  expect_round_trip<SmallMobile>();
  expect_round_trip<SmallEnsemble>();
  expect_round_trip<SmallSoft>();
}

TEST_CASE("weights: foreign namings") {
  for (const NameTable* table : vit_tables()) expect_loads_from<Small>(*table);
  expect_loads_from<Small>(vit_jax_names, "opt/target/");
  expect_loads_from<Small>(vmoe_names, "params/");
  expect_loads_from<SmallMoe>(vmoe_names);
  expect_loads_from<SmallMobile>(vmoe_names);
  expect_loads_from<SmallEnsemble>(vmoe_names);
  expect_loads_from<SmallSoft>(vmoe_names);
  constexpr VitConfig map{.image = 8,
                          .patch = 4,
                          .dim = 8,
                          .depth = 1,
                          .heads = 2,
                          .hidden = 12,
                          .classes = 3,
                          .representation = 5,
                          .head = Head::map,
                          .qk_norm = QkNorm::scale};
  expect_loads_from<Vit<map>>(vmoe_names);
  constexpr VitConfig averaged{.image = 8,
                               .patch = 4,
                               .dim = 8,
                               .depth = 1,
                               .heads = 2,
                               .hidden = 12,
                               .classes = 3,
                               .head = Head::mean,
                               .unread_class_token = true,
                               .qk_norm = QkNorm::scale_and_bias,
                               .final_norm = FinalNorm::after_pooling,
                               .layer_scale = true};
  expect_loads_from<Vit<averaged>>(timm_names);
}

TEST_CASE("weights: all that does not fit is listed at once, and nothing is touched") {
  Draft draft = foreign_draft(random_model<Small>(3), timm_names);
  draft.tensors.erase("blocks.1.mlp.fc2.bias");
  draft.tensors["blocks.2.norm1.weight"] = {{8}, std::vector<float>(8)};
  std::swap(draft.tensors["blocks.0.mlp.fc1.weight"].first[0], draft.tensors["blocks.0.mlp.fc1.weight"].first[1]);
  draft.tensors["head.weight"].first = {24};
  draft.tensors["norm.bias"].second[5] = std::numeric_limits<float>::quiet_NaN();
  draft.tensors["norm.weight"].second[0] = std::numeric_limits<float>::infinity();
  expect_refused<Small>(draft.file(), {"timm", "1 missing, 1 unexpected, 4 of another",
                                       "missing tensor 'blocks.1.mlp.fc2.bias' [8] (for blocks.1.mlp.output.bias)",
                                       "unexpected tensor 'blocks.2.norm1.weight' [8]",
                                       "tensor 'blocks.0.mlp.fc1.weight': expected [12, 8], found [8, 12]",
                                       "tensor 'head.weight': expected [3, 8], found [24]",
                                       "tensor 'norm.bias': expected finite values, found NaN at element 5",
                                       "tensor 'norm.weight': expected finite values, found infinity at element 0"});
}

TEST_CASE("weights: element types") {
  Draft draft = foreign_draft(random_model<Small>(4), own_names);
  draft.type = "F64";
  Small model;
  load(model, draft.file());
  CHECK(values_of(model) == values_of(random_model<Small>(4)));
  draft.type = "I32";
  expect_refused<Small>(draft.file(), {"expected F32, F16, BF16 or F64, found I32"});

  const std::array<double, 8> one_huge = {0, 0, 1e300, 0, 0, 0, 0, 0};
  draft.type = "F32";
  const TensorFile narrow = draft.file();
  std::vector<StoredTensor> tensors = narrow.tensors();
  for (StoredTensor& tensor : tensors)
    if (tensor.name == "norm.bias") tensor.type = "F64", tensor.bytes = std::as_bytes(std::span(one_huge));
  expect_refused<Small>(TensorFile("wide", nullptr, tensors), {"too large for a float at element 2"},
                        {.reject_nonfinite = false});
}

TEST_CASE("weights: options that admit a difference") {
  const Small source = random_model<Small>(5);
  Draft draft = foreign_draft(source, own_names);
  SECTION("a prefix") {
    draft = foreign_draft(source, timm_names, "module.");
    expect_refused<Small>(draft.file(), {"'module.'", "strip_prefix"});
    Small model;
    load(model, draft.file(), {.strip_prefix = "module."});
    CHECK(values_of(model) == values_of(source));
  }
  SECTION("a naming that is asked for") {
    expect_refused<Small>(draft.file(), {"naming timm"}, {.naming = Naming::timm});
  }
  SECTION("tensors to be ignored") {
    draft.tensors["optimiser/step"] = {{1}, {1.0f}};
    draft.tensors["extra"] = {{1}, {1.0f}};
    expect_refused<Small>(draft.file(), {"unexpected tensor 'optimiser/step'"}, {.ignore = {"extra"}});
    Small model;
    const LoadReport report = load(model, draft.file(), {.ignore = {"extra", "optimiser/*"}});
    CHECK(report.unused == std::vector<std::string>{"extra", "optimiser/step"});
  }
  SECTION("parameters to be kept") {
    draft.tensors["head.kernel"] = {{8, 5}, std::vector<float>(40, 9.0f)};
    draft.tensors["head.bias"] = {{5}, std::vector<float>(5, 9.0f)};
    expect_refused<Small>(draft.file(), {"'head.kernel': expected [8, 3], found [8, 5]"});
    const Small before = random_model<Small>(6);
    Small model = before;
    const LoadReport report = load(model, draft.file(), {.keep = {"head*"}});
    CHECK(report.unused == std::vector<std::string>{"head.bias", "head.kernel"});
    const auto now = model.parameters();
    const auto old = before.parameters(), loaded = source.parameters();
    for (std::size_t i = 0; i < now.size(); ++i)
      CHECK(now[i].values() == (now[i].name.starts_with("head") ? old : loaded)[i].values());
  }
  SECTION("values that are not finite") {
    draft.tensors["head.bias"].second[1] = std::numeric_limits<float>::infinity();
    Small model;
    load(model, draft.file(), {.reject_nonfinite = false});
    CHECK(values_of(model) != values_of(source));
  }
}

TEST_CASE("weights: positions of another grid") {
  const Small source = random_model<Small>(8);
  for (const NameTable* table : vit_tables()) {
    INFO(table->name);
    const TensorFile file = foreign_draft(source, *table).file();
    expect_refused<Vit<larger>>(file, {"found [", "5, 8]", "resize_positions"});
    Vit<larger> model;
    load(model, file, {.resize_positions = true});
    std::vector<float> from, to, want(10 * 8);
    for (const auto& parameter : source.parameters())
      if (parameter.name == "position_embedding") from = parameter.values();
    for (const auto& parameter : model.parameters())
      if (parameter.name == "position_embedding") to = parameter.values();
    resize_positions(table->resampling, from, {2, 2, true}, want, {3, 3, true}, 8);
    CHECK(to == want);
  }
  Draft odd = foreign_draft(source, timm_names);
  odd.tensors["pos_embed"] = {{1, 4, 8}, std::vector<float>(32)};  // 4 = 2 x 2 without a token
  odd.tensors["pos_embed"].first[1] = 3;                           // 3 is no grid either way
  odd.tensors["pos_embed"].second.resize(24);
  expect_refused<Small>(odd.file(), {"'pos_embed': expected [1, 5, 8], found [1, 3, 8]"}, {.resize_positions = true});
}

TEST_CASE("weights: our file of another resolution") {
  const TemporaryFolder folder;
  save(random_model<Small>(9), folder / "file");
  Vit<larger> model;
  CHECK_THROWS_WITH(load(model, folder / "file"), Catch::Contains("vit.image: expected 12, found 8"));
  load(model, folder / "file", {.resize_positions = true});
  CHECK(model.preprocessing().height == 12);
}

TEST_CASE("weights: a configuration that shapes do not show") {
  const TemporaryFolder folder;
  const auto saved_as = [&](const std::function<void(ModelDescription&)>& change) {
    const SmallMoe model = random_model<SmallMoe>(10);
    ModelDescription description = model.description();
    change(description);
    Draft draft = foreign_draft(model, own_names);
    draft.metadata = to_metadata({description, model.preprocessing(), {}});
    return draft.file();
  };
  SmallMoe model;
  load(model, saved_as([](ModelDescription&) {}));
  load(model, saved_as([](ModelDescription& d) { d.moe.placement = blocks({1}); }));  // the same block
  expect_refused<SmallMoe>(saved_as([](ModelDescription& d) { d.vit.activation = Activation::relu; }),
                           {"another configuration",
                            "vit.activation: expected moevit::Activation::gelu_tanh, found moevit::Activation::relu"});
  expect_refused<SmallMoe>(saved_as([](ModelDescription& d) { d.vit.heads = 4, d.vit.epsilon = 1e-5f; }),
                           {"vit.heads", "vit.epsilon"});
  expect_refused<SmallMoe>(saved_as([](ModelDescription& d) { d.moe.selected = 1; }),
                           {"moe.selected: expected 2, found 1"});
  expect_refused<SmallMoe>(saved_as([](ModelDescription& d) { d.family = ModelFamily::custom; }), {"family"});
  expect_refused<SmallMoe>(saved_as([](ModelDescription& d) { d.moe.placement = last(2); }), {"moe.placement"});
  load(model, saved_as([](ModelDescription& d) { d.moe.selected = 1; }), {.check_configuration = false});
}

TEST_CASE("weights: metadata that is damaged") {
  const Small model = random_model<Small>(11);
  Draft draft = foreign_draft(model, own_names);
  const TensorFile::Metadata good = to_metadata({model.description(), model.preprocessing(), {"a", "b"}});
  const auto with = [&](const std::string& key, const std::string& value) {
    draft.metadata = good;
    draft.metadata[key] = value;
    return draft.file();
  };
  expect_refused<Small>(with("moevit.format", "2"), {"version"});
  expect_refused<Small>(with("moevit.family", "other"), {"moevit.family", "other"});
  expect_refused<Small>(with("moevit.vit", "{"), {"moevit.vit"});
  expect_refused<Small>(with("moevit.vit", "[]"), {"moevit.vit", "image", "missing"});
  expect_refused<Small>(with("moevit.moe", "{\"experts\": 1, \"experts\": 1}"), {"moevit.moe", "occurs twice"});
  expect_refused<Small>(with("moevit.preprocessing", "{\"height\": {}}"), {"moevit.preprocessing", "objects inside"});
  expect_refused<Small>(with("moevit.vit", "{\"image\": \"x\"}"), {"moevit.vit", "image"});
  expect_refused<Small>(
      with("moevit.vit", good.at("moevit.vit").substr(0, good.at("moevit.vit").size() - 1) + ",\"more\":1}"),
      {"fields"});
  expect_refused<Small>(with("moevit.moe", std::string(100'000, '[')), {"moevit.moe", "longer"});
  expect_refused<Small>(with("moevit.class_names", "[1]"), {"moevit.class_names"});
  std::string zero = good.at("moevit.preprocessing");
  zero.replace(zero.find("[0.5]", zero.find("deviation")), 5, "[0.0]");
  expect_refused<Small>(with("moevit.preprocessing", zero), {"a deviation must not be 0"});
  draft.metadata = good;
  draft.metadata.erase("moevit.preprocessing");
  expect_refused<Small>(draft.file(), {"'moevit.preprocessing' is missing"});
}

TEST_CASE("weights: a zip archive is named as one") {
  const TemporaryFolder folder;
  std::ofstream(folder / "file.npz", std::ios::binary) << "PK\3\4 and so on";
  Small model;
  CHECK_THROWS_WITH(load(model, folder / "file.npz"), Catch::Contains("read_npz") && Catch::Contains("file.npz"));
  CHECK_THROWS_WITH(load(model, folder / "absent"), Catch::Contains("no such file"));
}
