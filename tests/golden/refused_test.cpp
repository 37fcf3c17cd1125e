/// Configurations that the manifests say must be refused.
#include "golden/router_settings.hpp"

#include <moevit/moe/assign.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

/// Routes a group as a refused configuration says; what it leaves open is filled in with something that works.
void route_as_configured(const std::string& kind, const nlohmann::json& config) {
  RouterSettings settings = read_router(config, true);
  if (!config.contains("dispatcher")) read_dispatcher(config, settings.options);
  if (config.contains("ceil_or_round"))
    settings.options.capacity_rounding =
        config["ceil_or_round"] == "round" ? CapacityRounding::round : CapacityRounding::ceil;
  if (config.contains("multiple_of")) settings.options.capacity_multiple = field<Index>(config, "multiple_of", 0);
  const Index experts = field<Index>(config, "num_experts", 4), tokens = field<Index>(config, "num_tokens", 8);
  settings.options.group_tokens = field<Index>(config, "group_size", tokens);
  const Index batch = config.contains("num_tokens") ? tokens : settings.options.group_tokens;
  const std::vector<float> gates(static_cast<std::size_t>(batch * experts), 1.f / static_cast<float>(experts));
  SparsePlan plan;
  AssignScratch scratch;
  const ConstMatrixView view(gates.data(), batch, experts);
  const Index group = tokens_per_group(settings.options, 1, batch);
  if (kind == "expert_choice_router" || settings.expert_choice)
    assign_expert_choice(view, group, settings.options, plan, scratch);
  else
    assign_top_k(view, group, settings.options, plan, scratch);
}

}  // namespace

TEST_CASE("golden: refused configurations") {
  std::size_t refused = 0;
  for (const Manifest& manifest : manifests()) {
    if (!manifest.json.contains("errors")) continue;
    for (const auto& entry : manifest.json["errors"]) {
      INFO(entry.dump());
      CHECK_THROWS_AS(route_as_configured(entry.at("kind"), entry.at("config")), Error);
      ++refused;
    }
  }
  std::cout << "golden refused configurations: " << refused << "\n";
}
