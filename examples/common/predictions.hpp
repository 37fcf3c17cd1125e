/// From outputs and plans to what a program says about an image: class probabilities and the experts that handled it.
#pragma once

#include <moevit/moevit.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

namespace examples {

struct ClassProbability {
  moevit::Index number = 0;
  double probability = 0;
};

/// Softmax of the logits (rows x classes, averaged over the rows: the members of an ensemble), the `top` most likely
/// classes first; ties to the lower number.
inline std::vector<ClassProbability> most_likely(std::span<const float> logits, moevit::Index rows, moevit::Index top) {
  const std::size_t classes = logits.size() / static_cast<std::size_t>(rows);
  std::vector<ClassProbability> result(classes);
  for (std::size_t first = 0; first < logits.size(); first += classes) {
    const auto row = logits.subspan(first, classes);
    const double largest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float logit : row) sum += std::exp(logit - largest);
    for (std::size_t i = 0; i < classes; ++i)
      result[i].probability += std::exp(row[i] - largest) / sum / static_cast<double>(rows);
  }
  for (std::size_t i = 0; i < classes; ++i) result[i].number = static_cast<moevit::Index>(i);
  std::stable_sort(result.begin(), result.end(),
                   [](const auto& a, const auto& b) { return a.probability > b.probability; });
  result.resize(std::min(classes, static_cast<std::size_t>(top)));
  return result;
}

struct ExpertShare {
  int expert = 0;
  int tokens = 0;
};

/// For each image of the last pass the experts that computed any of its tokens in the last sparse block, most tokens
/// first, then the higher choice (so for Mobile V-MoE: the image's experts, best first). Empty for dense models and
/// soft routing.
inline std::vector<std::vector<ExpertShare>> experts_of_images(const moevit::Context& context, std::size_t images) {
  std::vector<std::vector<ExpertShare>> result(images);
  int block = context.depth() - 1;
  while (block >= 0 && !context.is_sparse(block)) --block;
  if (block < 0) return result;
  const moevit::SparsePlan& plan = context.plan(block);
  if (plan.tokens() == 0) return result;
  const int tokens_per_image = plan.tokens() / static_cast<int>(images);  // of all copies of an image
  for (const moevit::Choice& choice : plan.choices()) {
    if (choice.slot < 0) continue;
    auto& shares = result[static_cast<std::size_t>(choice.token / tokens_per_image)];
    const auto found =
        std::find_if(shares.begin(), shares.end(), [&](const auto& share) { return share.expert == choice.expert; });
    if (found == shares.end())
      shares.push_back({choice.expert, 1});
    else
      ++found->tokens;
  }
  for (auto& shares : result)
    std::stable_sort(shares.begin(), shares.end(), [](const auto& a, const auto& b) { return a.tokens > b.tokens; });
  return result;
}

}  // namespace examples
