/// What the configuration of a golden case says about its router.
#pragma once

#include "golden/manifest.hpp"

#include <moevit/moe/losses.hpp>
#include <moevit/moe/routing_options.hpp>

#include <string>
#include <vector>

namespace moevit::test {

/// A field of a JSON object; `fallback` where it is absent or null.
template <class T>
T field(const nlohmann::json& json, const char* name, T fallback) {
  return json.contains(name) && !json[name].is_null() ? json[name].get<T>() : fallback;
}

/// Sets capacity, priority and bfloat16 from a `dispatcher` object; defaults are the reference's.
inline void read_dispatcher(const nlohmann::json& dispatcher, RoutingOptions& options) {
  options.capacity = field<Index>(dispatcher, "capacity", 0);
  options.capacity_ratio = field<double>(dispatcher, "capacity_factor", unlimited);
  const auto rounding = field<std::string>(dispatcher, "capacity_ceil_or_round", "ceil");
  options.capacity_rounding = rounding == "round" ? CapacityRounding::round : CapacityRounding::ceil;
  const bool none = dispatcher.contains("capacity_multiple_of") && dispatcher["capacity_multiple_of"].is_null();
  options.capacity_multiple = none ? 0 : field<Index>(dispatcher, "capacity_multiple_of", 4);
  options.priority = field<bool>(dispatcher, "batch_priority", false) ? Priority::max_gate : Priority::position;
  options.bf16_dispatch = field<bool>(dispatcher, "bfloat16", false);
}

/// A router as the reference configures it.
struct RouterSettings {
  RoutingOptions options;
  AuxiliaryLossWeights weights{.importance = 1, .load = 1, .gshard = 0};
  Index members = 1;
  bool expert_choice = false;
};

/// Reads a `router` object (or a config that is one).
inline RouterSettings read_router(const nlohmann::json& router, bool deterministic) {
  RouterSettings settings;
  settings.options.selected = field<Index>(router, "num_selected_experts", 1);
  settings.options.noise_std = deterministic ? 0. : field<double>(router, "noise_std", 1.);
  settings.weights.importance = field(router, "importance_loss_weight", 1.);
  settings.weights.load = field(router, "load_loss_weight", 1.);
  settings.weights.gshard = field(router, "gshard_loss_weight", 0.);
  for (const char* key : {"name", "router"})
    if (router.contains(key) && router[key].is_string())
      settings.expert_choice = router[key].get<std::string>().ends_with("NoisyTopItemsPerExpertRouter");
  if (router.contains("dispatcher")) read_dispatcher(router["dispatcher"], settings.options);
  return settings;
}

/// Which row of the token stream stands at a position of the groups. In ensembles rows are (image, member, token) and
/// positions (image, token, member); else they are the same.
struct PositionOrder {
  Index members = 1;
  Index tokens_per_image = 1;

  Index member(Index position) const { return position % members; }
  Index row(Index position) const {
    if (members == 1) return position;
    const Index token = position / members % tokens_per_image, image = position / members / tokens_per_image;
    return (image * members + member(position)) * tokens_per_image + token;
  }
};

/// Hands out the noise of a golden case, which has for each position one value per expert that it can choose from.
class StoredNoise : public NoiseSource {
 public:
  StoredNoise(PositionOrder order, Index experts) : order_(order), experts_(experts) {}

  /// The noise of the sparse block with number `block` in the model.
  void add(int block, std::vector<float> values) { values_[block] = std::move(values); }

  void fill(int block, std::span<float> values) override {
    const std::vector<float>& stored = values_.at(block);
    const Index own = experts_ / order_.members, positions = std::ssize(values) / experts_;
    if (std::ssize(stored) != positions * own)
      fail("noise: expected ", positions * own, " values, found ", stored.size());
    std::fill(values.begin(), values.end(), 0.f);
    for (Index position = 0; position < positions; ++position)
      std::copy_n(stored.begin() + position * own, own,
                  values.begin() + order_.row(position) * experts_ + order_.member(position) * own);
  }

 private:
  PositionOrder order_;
  Index experts_;
  std::map<int, std::vector<float>> values_;
};

}  // namespace moevit::test
