/// Trained weights from the reference give the same answer image by image.
#include "golden/router_settings.hpp"
#include "golden/trained_models.hpp"
#include "golden/typed_cases.hpp"

#include <moevit/io/weights.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr double logit_bound = 1e-4;
constexpr std::size_t batch_groups = 25;

/// NAME.json with what lies beside it.
struct Checkpoint {
  std::filesystem::path directory;
  nlohmann::json json;
  TensorFile outputs;

  std::string name() const { return json.at("name"); }
  const nlohmann::json& moe() const { return json.at("config").at("encoder").at("moe"); }
  bool is_mobile() const { return moe().at("router").contains("pool"); }

  Preprocessing preprocessing() const {
    const auto& config = json.at("config");
    Preprocessing result{.height = config.at("image_size")[0],
                         .width = config.at("image_size")[1],
                         .channels = field<Index>(config, "channels", 3)};
    result.mean = json.at("preprocessing").at("mean").get<std::vector<float>>();
    result.deviation = json.at("preprocessing").at("std").get<std::vector<float>>();
    return result;
  }

  std::unique_ptr<AnyModel> model() const {
    auto result = TypeRegistry<AnyModel>::instance().make(key_of(directory, name()));
    load(*result, directory / json.at("weights").get<std::string>());
    return result;
  }
};

std::vector<std::filesystem::path> checkpoint_directories() {
  const char* named = std::getenv("MOEVIT_CHECKPOINT_DIR");
  std::vector<std::filesystem::path> result;
  std::istringstream list(named && *named ? named : MOEVIT_CHECKPOINT_DIR);
  for (std::string directory; std::getline(list, directory, ':');) result.emplace_back(directory);
  if (result.empty()) shared("checkpoints");  // says that they are absent, or fails under CI
  return result;
}

std::vector<Checkpoint> checkpoints() {
  std::vector<Checkpoint> result;
  for (const auto& directory : checkpoint_directories())
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (entry.path().extension() != ".json") continue;
      std::ifstream stream(entry.path());
      const auto json = nlohmann::json::parse(stream);
      result.push_back({directory, json, read_safetensors(directory / json.at("outputs").get<std::string>())});
    }
  return result;
}

/// The router of a V-MoE checkpoint with nothing dropped, or with the capacity and priority that `setting` names,
/// "cf_<factor>_vanilla" or "cf_<factor>_bpr".
RoutingOptions evaluation_options(const Checkpoint& checkpoint, const std::string& setting) {
  if (checkpoint.is_mobile()) {
    RoutingOptions options;
    const auto& router = checkpoint.moe().at("router");
    options.selected = field<Index>(router, "num_selected_experts", 1);
    options.scale_by_gate = field(router, "scale_by_gate", true);
    return options;
  }
  RoutingOptions options = read_router(checkpoint.moe().at("router"), true).options;
  options.group_tokens = checkpoint.moe().at("group_size");
  options.capacity_ratio = setting.starts_with("cf_") ? std::stod(setting.substr(3)) : unlimited;
  options.priority = setting.ends_with("_bpr") ? Priority::max_gate : Priority::position;
  return options;
}

/// Images that are routed together.
std::size_t images_per_group(const Checkpoint& checkpoint, const AnyModel& model) {
  if (checkpoint.is_mobile()) return 8;
  return static_cast<std::size_t>(checkpoint.moe().at("group_size").get<Index>() / model.description().vit.tokens());
}

Context evaluation_context(const Checkpoint& checkpoint, const AnyModel& model, const std::string& setting) {
  const auto images = static_cast<Index>(batch_groups * images_per_group(checkpoint, model));
  const RoutingOptions options = evaluation_options(checkpoint, setting);
  Context context = model.context({.images = images, .threads = hardware_threads(), .selected = options.selected});
  context.routing = options;
  return context;
}

/// Compares the first rows of some output with a tensor of the outputs file.
void compare_rows(const Checkpoint& checkpoint, const std::string& tensor, std::span<const float> got) {
  const std::vector<float> want = checkpoint.outputs.floats(tensor);
  REQUIRE(got.size() >= want.size());
  const WorstDifference worst = worst_difference(got.first(want.size()), want, logit_bound);
  std::cout << checkpoint.name() << ": " << tensor << " differ by at most " << worst.ratio * logit_bound << "\n";
  INFO(checkpoint.name() << ": " << tensor << ", at " << worst.index << ": got " << worst.got << ", want "
                         << worst.want);
  CHECK(worst.ratio <= 1.0);
}

/// First-64 logits of one setting ("" for nothing dropped).
void compare_first_logits(const Checkpoint& checkpoint, const AnyModel& model, const TestSet& set,
                          const std::string& tensor) {
  const std::size_t group = images_per_group(checkpoint, model), slash = tensor.find('/');
  const auto rows = static_cast<std::size_t>(checkpoint.outputs.at(tensor).shape[0]);
  Context context =
      evaluation_context(checkpoint, model, slash == std::string::npos ? "no_drop" : tensor.substr(slash + 1));
  std::vector<float> router_logits;
  const auto keep_router = [&](std::size_t, std::size_t, const Context& used) {
    if (!checkpoint.is_mobile()) return;
    const ConstMatrixView view = used.routing_of(used.depth() - 1).logits();
    router_logits.insert(router_logits.end(), view.data(), view.data() + view.size());
  };
  compare_rows(checkpoint, tensor,
               logits_of(model, set, (rows + group - 1) / group * group, group, context, keep_router));
  if (checkpoint.outputs.find("router_logits_first_64"))
    compare_rows(checkpoint, "router_logits_first_64", router_logits);
}

/// Where two lists of classes differ; prints every place. `allowed(image)` says whether rounding may do that.
template <class Allowed>
std::size_t count_wrong(const std::string& what, const std::vector<std::int32_t>& got,
                        const std::vector<std::int32_t>& want, Allowed allowed) {
  REQUIRE(got.size() == want.size());
  std::size_t wrong = 0;
  for (std::size_t image = 0; image < got.size(); ++image) {
    if (got[image] == want[image]) continue;
    std::cout << what << ": image " << image << ": got " << got[image] << ", want " << want[image]
              << (allowed(image) ? " (almost a tie)" : "") << "\n";
    wrong += !allowed(image);
  }
  return wrong;
}

/// The entry of the JSON file about a setting; null when it has none.
nlohmann::json expected_of(const Checkpoint& checkpoint, const std::string& setting) {
  const auto& evaluation = checkpoint.json.at("evaluation");
  if (setting == "no_drop") return evaluation.at("no_drop");
  const RoutingOptions options = evaluation_options(checkpoint, setting);
  for (const auto& entry : evaluation.at("capacity"))
    if (entry.at("capacity_factor") == options.capacity_ratio &&
        entry.at("batch_priority") == (options.priority == Priority::max_gate))
      return entry;
  return {};
}

/// The expert of every image, image by image and in sum.
void compare_experts(const Checkpoint& checkpoint, const std::vector<std::int32_t>& experts) {
  const std::vector<float> margins = checkpoint.outputs.floats("router_margin");
  const auto close = [&](std::size_t image) { return margins[image] < logit_bound; };
  const auto want = checkpoint.outputs.integers("expert");
  CHECK(count_wrong(checkpoint.name() + " expert", experts, want, close) == 0);
  const auto listed = checkpoint.json.at("evaluation").at("router").at("images_per_expert").get<std::vector<Index>>();
  std::vector<Index> counts(listed.size());
  for (const std::int32_t expert : experts) ++counts[static_cast<std::size_t>(expert)];
  std::cout << checkpoint.name() << ": images per expert";
  for (const Index count : counts) std::cout << " " << count;
  std::cout << "\n";
  CHECK((counts == listed || experts != want));
}

/// All images in one setting: predictions, number of correct ones, slots per expert, experts of images.
void compare_predictions(const Checkpoint& checkpoint, const AnyModel& model, const TestSet& set,
                         const std::string& setting) {
  Context context = evaluation_context(checkpoint, model, setting);
  const nlohmann::json expected = expected_of(checkpoint, setting);
  REQUIRE(!expected.is_null());
  std::vector<std::int32_t> experts;
  const auto keep_experts = [&](std::size_t, std::size_t, const Context& used) {
    const SparsePlan& plan = used.plan(used.depth() - 1);
    if (expected.contains("capacity")) REQUIRE(plan.capacity() == expected["capacity"].get<Index>());
    if (!checkpoint.is_mobile()) return;
    for (const Choice& choice : plan.choices())
      if (choice.token % model.description().vit.tokens() == 0 && choice.rank == 0) experts.push_back(choice.expert);
  };
  const std::size_t batch = batch_groups * images_per_group(checkpoint, model);
  const auto got = predictions(logits_of(model, set, set.size(), batch, context, keep_experts), set.size());
  const std::vector<float> margins = checkpoint.outputs.floats("margin/" + setting);
  const auto want = checkpoint.outputs.integers("predictions/" + setting);
  const bool routed = checkpoint.outputs.find("router_margin") != nullptr;
  const std::vector<float> router_margins = routed ? checkpoint.outputs.floats("router_margin") : margins;
  const auto close = [&](std::size_t image) {
    return margins[image] < logit_bound || router_margins[image] < logit_bound;
  };
  const std::size_t wrong = count_wrong(checkpoint.name() + " " + setting, got, want, close);
  const std::size_t correct = count_equal(got, set.labels), different = set.size() - count_equal(got, want);
  std::cout << checkpoint.name() << " " << setting << ": " << correct << " of " << set.size() << " correct, "
            << different << " predictions differ\n";
  // With a limited capacity, gates that almost tie may change who is dropped: the reference's notes allow two images.
  CHECK(wrong <= (setting == "no_drop" ? 0u : 2u));
  CHECK(std::abs(static_cast<Index>(correct) - expected.at("correct").get<Index>()) <= static_cast<Index>(different));
  if (routed) compare_experts(checkpoint, experts);
}

}  // namespace

TEST_CASE("checkpoints: every tensor is there, and the first logits agree") {
  for (const Checkpoint& checkpoint : checkpoints()) {
    const auto model = checkpoint.model();
    Index parameters = 0;
    for (const Parameter& parameter : model->parameters()) parameters += parameter.size();
    CHECK(parameters == checkpoint.json.at("num_parameters").get<Index>());
    const auto set = fashion_mnist(checkpoint.preprocessing());
    if (!set) continue;
    for (const StoredTensor& tensor : checkpoint.outputs.tensors())
      if (tensor.name.starts_with("logits_first_64")) compare_first_logits(checkpoint, *model, *set, tensor.name);
  }
}

TEST_CASE("checkpoints: every prediction on all test images", "[large]") {
  for (const Checkpoint& checkpoint : checkpoints()) {
    const auto set = fashion_mnist(checkpoint.preprocessing());
    if (!set) continue;
    CHECK(set->labels == checkpoint.outputs.integers("labels"));
    const auto model = checkpoint.model();
    const std::string prefix = "predictions/";
    for (const StoredTensor& tensor : checkpoint.outputs.tensors())
      if (tensor.name.starts_with(prefix))
        compare_predictions(checkpoint, *model, *set, tensor.name.substr(prefix.size()));
  }
}
