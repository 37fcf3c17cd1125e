/// Compares what a router left behind with the outputs of a golden case.
#pragma once

#include "golden/case_outputs.hpp"
#include "golden/router_settings.hpp"

#include <moevit/moe/gates.hpp>
#include <moevit/moe/routing.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace moevit::test {

/// A routing of a batch, with what is needed to read it group by group.
struct RoutedBatch {
  const Routing& routing;
  RouterSettings settings;
  PositionOrder order;
  Index group = 0;  // positions per group

  const SparsePlan& plan() const { return routing.plan; }
  Index positions() const { return plan().tokens(); }
  Index groups() const { return positions() / group; }
  Index experts() const { return plan().experts(); }
  /// Experts that a position can choose from.
  Index own_experts() const { return experts() / settings.members; }

  std::vector<Index> positions_by_row() const {
    std::vector<Index> result(static_cast<std::size_t>(positions()));
    for (Index position = 0; position < positions(); ++position)
      result[static_cast<std::size_t>(order.row(position))] = position;
    return result;
  }
};

/// One value per position and expert: `of(choice)` where a choice was kept, else `empty`.
template <class T, class Of>
std::vector<T> by_expert(const RoutedBatch& batch, T empty, Of of) {
  std::vector<T> values(static_cast<std::size_t>(batch.positions() * batch.experts()), empty);
  const std::vector<Index> positions = batch.positions_by_row();
  for (const Choice& choice : batch.plan().choices())
    if (choice.slot >= 0)
      values[static_cast<std::size_t>(positions[static_cast<std::size_t>(choice.token)] * batch.experts() +
                                      choice.expert)] = of(choice);
  return values;
}

inline std::vector<float> combine_weights(const RoutedBatch& batch) {
  return by_expert(batch, 0.f, [](const Choice& choice) { return choice.gate; });
}

/// Slots by position and expert. Where the reference's own slot numbers do not stand a change by rounding
/// (`same_slots` false), only what was kept is compared.
inline void compare_slots(CaseOutputs& outputs, const std::string& name, const RoutedBatch& batch, bool same_slots) {
  std::vector<std::int32_t> slots =
      by_expert(batch, std::int32_t{-1}, [](const Choice& choice) { return choice.slot; });
  if (same_slots || !outputs.take(name)) return outputs.equal(name, slots);
  const std::vector<std::int32_t> want = outputs.golden().integers("outputs/" + name);
  INFO(outputs.golden().name << ": " << name << ", kept or not");
  REQUIRE(want.size() == slots.size());
  std::size_t differing = 0;
  for (std::size_t i = 0; i < want.size(); ++i) differing += (want[i] >= 0) != (slots[i] >= 0);
  CHECK(differing == 0);
}

/// Rows of a member in one group of a matrix by stream rows, its own experts only.
inline RowMajorMatrix member_rows(const RoutedBatch& batch, ConstMatrixView values, Index group, Index member) {
  const Index rows = batch.group / batch.settings.members, own = batch.own_experts();
  RowMajorMatrix result(rows, own);
  for (Index row = 0; row < rows; ++row) {
    const Index position = group * batch.group + row * batch.settings.members + member;
    result.row(row) = values.row(batch.order.row(position)).segment(member * own, own);
  }
  return result;
}

/// Auxiliary losses by group and member.
struct LossesOfGroups {
  std::vector<float> importance, load, gshard, total;

  double sum() const {
    double sum = 0;
    for (const float value : total) sum += double{value};
    return sum;
  }
};

inline ConstMatrixView view_of(const RowMajorMatrix& matrix) { return {matrix.data(), matrix.rows(), matrix.cols()}; }

/// The losses of every group and member; expert choice has none.
inline LossesOfGroups losses_of_groups(const RoutedBatch& batch) {
  LossesOfGroups losses;
  if (batch.settings.expert_choice) return losses;
  const bool has_noise = batch.routing.noisy_logits().rows() > 0;
  for (Index group = 0; group < batch.groups(); ++group)
    for (Index member = 0; member < batch.settings.members; ++member) {
      const RowMajorMatrix logits = member_rows(batch, batch.routing.logits(), group, member);
      const RowMajorMatrix noisy = has_noise ? member_rows(batch, batch.routing.noisy_logits(), group, member) : logits;
      const AuxiliaryLosses group_losses =
          auxiliary_losses(view_of(logits), has_noise ? view_of(noisy) : ConstMatrixView(nullptr, 0, logits.cols()),
                           batch.settings.options.selected, batch.settings.options.noise_std, batch.settings.weights);
      losses.importance.push_back(static_cast<float>(group_losses.importance));
      losses.gshard.push_back(static_cast<float>(group_losses.gshard));
      losses.total.push_back(static_cast<float>(group_losses.total));
      if (has_noise) losses.load.push_back(static_cast<float>(group_losses.load));
    }
  return losses;
}

/// Values of every position for the experts that it can choose from.
inline std::vector<float> own_values(const RoutedBatch& batch, ConstMatrixView values) {
  const Index own = batch.own_experts();
  std::vector<float> result;
  for (Index position = 0; position < batch.positions(); ++position) {
    const float* row = values.row_data(batch.order.row(position)) + batch.order.member(position) * own;
    result.insert(result.end(), row, row + own);
  }
  return result;
}

/// Compares everything a case has below outputs/`path`; returns the losses.
inline LossesOfGroups compare_router(CaseOutputs& outputs, const std::string& path, const RoutedBatch& batch,
                                     bool same_slots) {
  const LossesOfGroups losses = losses_of_groups(batch);
  outputs.close(path + "logits", own_values(batch, batch.routing.logits()));
  outputs.close(path + "combine", combine_weights(batch));
  compare_slots(outputs, path + "slot_by_expert", batch, same_slots);
  outputs.close(path + "importance_loss", losses.importance);
  outputs.close(path + "load_loss", losses.load);
  outputs.close(path + "gshard_loss", losses.gshard);
  outputs.close(path + "auxiliary_loss", losses.total);
  return losses;
}

/// What the manifest says about slot numbers of a case: whether rounding leaves them as they are.
inline bool has_stable_slots(const GoldenCase& golden) {
  for (const Manifest& manifest : manifests()) {
    if (manifest.directory != golden.directory) continue;
    for (const auto& entry : manifest.json.at("cases"))
      if (entry.at("name") == golden.name && entry.contains("robustness") && entry["robustness"].is_object())
        return field(entry["robustness"], "same_slots", true);
  }
  return true;
}

}  // namespace moevit::test
