/// Name tables: what each layout does to elements, and that every table uses foreign tensors exactly once.
#include "catch.hpp"

#include <moevit/io/load_parameters.hpp>
#include <moevit/io/naming/recognise.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

using namespace moevit;

namespace {

/// Our values, in row-major order, from a tensor that holds 0, 1, 2, ...
std::vector<float> gathered(NameLayout layout, const Shape& ours, Index heads = 1, Index members = 1) {
  ForeignSlice slice;
  detail::set_layout(slice, layout, ours, heads, members);
  std::vector<float> values(static_cast<std::size_t>(element_count(ours)));
  detail::gather([](Index i) { return static_cast<float>(i); }, slice, values);
  return values;
}

Shape foreign_shape(NameLayout layout, const Shape& ours, Index heads = 1, Index members = 1) {
  ForeignSlice slice;
  detail::set_layout(slice, layout, ours, heads, members);
  return slice.shape;
}

/// Every parameter a table can name in a model of two blocks with distinct sizes: name and shape.
std::map<std::string, Shape> all_parameters(const NameTable& table) {
  constexpr Index dim = 8, hidden = 12, experts = 4, classes = 5, tokens = 10;
  std::map<std::string, Shape> shapes;
  for (const NameRow& row : table.rows)
    for (const char* block : {"0", "1"}) {
      const std::string numbers[] = {block, block};
      const std::string name = detail::fill_numbers(row.ours, numbers);
      const auto ends = [&](std::string_view end) { return name.ends_with(end); };
      const auto contains = [&](std::string_view part) { return name.find(part) != std::string::npos; };
      Shape shape = {dim};
      if (name == "patch_embedding.kernel")
        shape = {2, 2, 3, dim};
      else if (name == "position_embedding")
        shape = {tokens, dim};
      else if (ends("router.mu"))
        shape = {dim, experts, 2};
      else if (ends("relative_position_bias"))
        shape = {9, 2};
      else if (ends("embedding.projection.kernel"))
        shape = {2, 2, 3, dim};
      else if (ends("convolution.kernel"))
        shape = {3, 3, dim};
      else if (ends("embedding.position_embedding"))
        shape = {2, 5, dim};
      else if (ends("router.similarity"))
        shape = {dim, experts};
      else if (ends("router.temperature"))
        shape = {1};
      else if (ends("router.projection.bias"))
        shape = {dim};
      else if (ends("moe.router.scale"))
        shape = {};
      else if (ends("router.kernel"))
        shape = {dim, experts};
      else if (ends("router.bias"))
        shape = {experts};
      else if (ends("experts.hidden.kernel"))
        shape = {experts, dim, hidden};
      else if (ends("experts.hidden.bias"))
        shape = {experts, hidden};
      else if (ends("experts.output.kernel"))
        shape = {experts, hidden, dim};
      else if (ends("experts.output.bias"))
        shape = {experts, dim};
      else if (ends("mlp.hidden.kernel"))
        shape = {dim, hidden};
      else if (ends("mlp.hidden.bias"))
        shape = {hidden};
      else if (ends("mlp.output.kernel"))
        shape = {hidden, dim};
      else if (ends("head.kernel"))
        shape = {dim, classes};
      else if (ends("head.bias"))
        shape = {classes};
      else if (contains("query_norm") || contains("key_norm"))
        shape = {dim / 2};
      else if (ends(".kernel"))
        shape = {dim, dim};
      shapes[name] = shape;
    }
  return shapes;
}

}  // namespace

TEST_CASE("naming: where every layout finds our elements") {
  CHECK(gathered(NameLayout::transposed, {2, 3}) == std::vector<float>{0, 2, 4, 1, 3, 5});  // stored as 3 x 2
  CHECK(foreign_shape(NameLayout::transposed, {2, 3}) == Shape{3, 2});
  // Patch of 1 x 2 pixels, 3 channels, width 2. Stored (D, C, ph, pw): element (d, c, 0, x) is 6 d + 2 c + x.
  CHECK(foreign_shape(NameLayout::convolution, {1, 2, 3, 2}) == Shape{2, 3, 1, 2});
  CHECK(gathered(NameLayout::convolution, {1, 2, 3, 2}) == std::vector<float>{0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11});
  // Stored (D, 1, kh, kw): element (d, 0, y, x) is 6 d + 3 y + x.
  CHECK(foreign_shape(NameLayout::depthwise, {2, 3, 2}) == Shape{2, 1, 2, 3});
  CHECK(gathered(NameLayout::depthwise, {2, 3, 2}) == std::vector<float>{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
  // Stored (D, ph pw C): element (d, i) is 6 d + i.
  CHECK(foreign_shape(NameLayout::flat_patch, {1, 2, 3, 2}) == Shape{2, 6});
  CHECK(gathered(NameLayout::flat_patch, {1, 2, 3, 2}) == std::vector<float>{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
  // Fused (3 A, D) with A = 2, D = 3: keys are rows 2 and 3.
  CHECK(foreign_shape(NameLayout::key, {3, 2}) == Shape{6, 3});
  CHECK(gathered(NameLayout::key, {3, 2}) == std::vector<float>{6, 9, 7, 10, 8, 11});
  CHECK(gathered(NameLayout::value, {2}) == std::vector<float>{4, 5});
  CHECK(foreign_shape(NameLayout::split_heads, {4, 6}, 3) == Shape{4, 3, 2});
  CHECK(foreign_shape(NameLayout::split_heads, {6}, 3) == Shape{3, 2});
  CHECK(foreign_shape(NameLayout::joined_heads, {6, 4}, 3) == Shape{3, 2, 4});
  CHECK(foreign_shape(NameLayout::members, {8, 4}, 1, 2) == Shape{8, 2, 2});
  CHECK(foreign_shape(NameLayout::members, {8, 4}, 1, 1) == Shape{8, 4});
  CHECK(foreign_shape(NameLayout::grid_rows, {2, 3, 4}) == Shape{1, 6, 4});
  // Stored (1, D, h, w): element (d, y, x) is 6 d + 3 y + x.
  CHECK(foreign_shape(NameLayout::grid_channels, {2, 3, 2}) == Shape{1, 2, 2, 3});
  CHECK(gathered(NameLayout::grid_channels, {2, 3, 2}) == std::vector<float>{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
  // Stored (E, out, in): element (e, o, i) is 6 e + 2 o + i.
  CHECK(foreign_shape(NameLayout::experts, {2, 2, 3}) == Shape{2, 3, 2});
  CHECK(gathered(NameLayout::experts, {2, 2, 3}) == std::vector<float>{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11});
  CHECK(foreign_shape(NameLayout::row, {8}) == Shape{1, 1, 8});
  CHECK(foreign_shape(NameLayout::rows, {5, 8}) == Shape{1, 5, 8});
}

TEST_CASE("naming: numbers of blocks") {
  using Numbers = std::vector<std::string>;
  CHECK(detail::match_numbers("blocks.{}.norm1.scale", "blocks.12.norm1.scale") == Numbers{"12"});
  CHECK(detail::match_numbers("a/b_{}/LayerNorm_0/c", "a/b_3/LayerNorm_0/c") == Numbers{"3"});
  CHECK(detail::match_numbers("stages.{}.blocks.{}.x", "stages.1.blocks.17.x") == Numbers{"1", "17"});
  CHECK(detail::match_numbers("norm{}.weight", "norm2.weight") == Numbers{"2"});
  CHECK(detail::match_numbers("norm.weight", "norm.weight") == Numbers{});
  for (const char* other : {"blocks..x", "blocks.1.", "blocks.1.xy", "blocks.a.x", "block", "blocks.1.x.y", ""})
    CHECK(!detail::match_numbers("blocks.{}.x", other));
  const Numbers numbers{"1", "17"};
  CHECK(detail::fill_numbers("layers.{}.blocks.{}.y", numbers) == "layers.1.blocks.17.y");
  CHECK(detail::fill_numbers("norm{}.y", numbers) == "norm1.y");
}

TEST_CASE("naming: every table maps a whole model onto whole tensors") {
  for (const NameTable* table : name_tables)
    for (const FinalNorm final_norm : {FinalNorm::before_pooling, FinalNorm::after_pooling}) {
      INFO(table->name);
      const VitConfig vit{.heads = 2, .final_norm = final_norm};
      std::map<std::string, std::pair<Shape, std::set<Index>>> used;
      for (const auto& [name, shape] : all_parameters(*table)) {
        const auto slice = find_foreign(*table, name, shape, {.vit = vit, .moe = {.members = 2}});
        REQUIRE(slice);
        INFO(name << " in " << slice->name);
        REQUIRE(element_count(slice->extents) == element_count(shape));
        Shape& whole = used[slice->name].first;
        std::set<Index>& taken = used[slice->name].second;
        CHECK((whole.empty() || whole == slice->shape));
        whole = slice->shape;
        std::vector<float> places(static_cast<std::size_t>(element_count(shape)));
        std::size_t twice = 0;
        detail::gather(
            [&](Index i) {
              twice += !taken.insert(i).second;
              return 0.0f;
            },
            *slice, places);
        CHECK(twice == 0);
      }
      for (const auto& [name, tensor] : used) {
        INFO(name);
        CHECK(std::ssize(tensor.second) == element_count(tensor.first));
        CHECK(*tensor.second.begin() == 0);
        CHECK(*tensor.second.rbegin() == element_count(tensor.first) - 1);
      }
    }
}

TEST_CASE("naming: a parameter that a naming lacks has no tensor there") {
  CHECK(!find_foreign(vmoe_names, "blocks.0.scale1", {8}, {}));
  CHECK(!find_foreign(timm_names, "blocks.0.moe.router.kernel", {8, 4}, {}));
  CHECK(find_foreign(own_names, "blocks.0.moe.my_router.table", {3}, {})->name == "blocks.0.moe.my_router.table");
}

TEST_CASE("naming: recognised by most names, prefixes come off") {
  const auto file_with = [](std::vector<std::string> names) {
    std::vector<StoredTensor> tensors;
    for (std::string& name : names) tensors.push_back({std::move(name), "F32", {0}, {}});
    return TensorFile("file", nullptr, std::move(tensors));
  };
  CHECK(recognise_naming(file_with({"blocks.0.norm1.bias", "blocks.0.norm1.weight"})).table == &timm_names);
  CHECK(recognise_naming(file_with({"blocks.0.norm1.bias", "blocks.0.norm1.scale"})).table == &own_names);
  CHECK(recognise_naming(file_with({"vit.layernorm.bias", "vit.layers.0.mlp.fc1.bias"})).table ==
        &hugging_face_5_names);
  const TensorFile jax = file_with({"opt/target/head/bias", "opt/target/Transformer/encoder_norm/scale"});
  CHECK(recognise_naming(jax).table == &vit_jax_names);
  CHECK(recognise_naming(jax).find("head/bias") != nullptr);
  const TensorFile wrapped = file_with({"model.head.bias", "model.cls_token"});
  CHECK_THROWS_WITH(recognise_naming(wrapped), Catch::Contains("strip_prefix") && Catch::Contains("'model.'"));
  CHECK(recognise_naming(wrapped, "model.").find("cls_token") != nullptr);
  CHECK_THROWS_WITH(recognise_naming(file_with({"z"})), Catch::Contains("known naming"));
  CHECK_THROWS_WITH(recognise_naming(file_with({})), Catch::Contains("none of the 0"));
  CHECK_THROWS_WITH(recognise_naming(file_with({"cls_token", "model.cls_token"}), "model."),
                    Catch::Contains("two tensors"));
}
