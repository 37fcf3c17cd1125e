/// A sparse layer with random weights: router, experts, combination. Shared by comparisons and cost curves.
#pragma once

#include "random_values.hpp"

#include <moevit/moe/per_image_router.hpp>
#include <moevit/moe/sparse_mlp.hpp>
#include <moevit/moe/top_k_router.hpp>

#include <span>
#include <vector>

namespace moevit::bench {

/// What one run costs at least: arithmetic, and every byte that has to be read or written once.
struct Cost {
  double multiply_adds = 0.;
  double bytes = 0.;
};

/// Bytes of the parameters that are read: of experts only the share that is used.
inline double bytes_read(const std::vector<Parameter>& parameters, double share_of_experts) {
  double bytes = 0.;
  for (const Parameter& parameter : parameters)
    bytes += static_cast<double>(parameter.size()) * sizeof(float) *
             (parameter.role == Role::expert ? share_of_experts : 1.);
  return bytes;
}

/// The share of experts that got any rows.
inline double share_of_used_experts(const SparsePlan& plan) {
  int used = 0;
  for (int expert = 0; expert < plan.experts(); ++expert) used += plan.kept(expert) > 0;
  return static_cast<double>(used) / plan.experts();
}

/// How many rows a layer gets, and how they are routed and computed.
struct LayerRows {
  Index images = 1;
  Index tokens_per_image = 197;
  Index selected = 1;
  Index threads = 1;
};

/// A sparse layer of `RouterType::dim` x `inner` experts on a batch of images.
template <class RouterType, Index inner, template <class> class BankOf = ExpertBank>
struct SparseLayer {
  static constexpr Index width = RouterType::dim, experts = RouterType::experts;
  static constexpr bool per_image = RouterType::scope == RouterScope::model;
  using MlpType = Mlp<width, inner>;
  using Sparse = SparseMlp<RouterType, BankOf<MlpType>>;

  LayerRows size;
  RouterType image_router;  // used where the router stands outside the layer
  Sparse sparse;
  std::vector<Parameter> parameters = list_parameters();
  Context context;

  explicit SparseLayer(LayerRows given) : size(given), context(make_context(given)) {
    test::randomise(parameters, 7);
    Sparse::reserve(context.routings().front(), context.routing, size.images, size.tokens_per_image);
  }

  static Context make_context(LayerRows given) {
    const RoutingOptions options{.selected = given.selected};
    const ScratchBytes bytes = Sparse::scratch(options, given.images, given.tokens_per_image);
    const Index router_bytes = router_worker_bytes(given.images * given.tokens_per_image, width);
    Context context({bytes.shared + arena_bytes<float>(given.images * width), std::max(bytes.per_worker, router_bytes)},
                    {.images = given.images, .threads = given.threads}, {}, {0}, 1);
    context.routing = options;
    return context;
  }

  std::vector<Parameter> list_parameters() {
    std::vector<Parameter> list;
    const auto visit = [&](auto&& parameter) { list.push_back(std::forward<decltype(parameter)>(parameter)); };
    Sparse::each_parameter(sparse, "moe", visit);
    if constexpr (per_image) RouterType::each_parameter(image_router, "moe.router", visit);
    return list;
  }

  Index rows() const { return size.images * size.tokens_per_image; }

  void run(std::span<const float> x, std::span<float> y) {
    context.start_pass();
    std::fill(y.begin(), y.end(), 0.f);
    const BlockRows block{
        {x.data(), rows(), width}, {y.data(), rows(), width}, nullptr, size.images, size.tokens_per_image, 1, 0};
    if constexpr (per_image) image_router.route(block.request(context), context.routings().front());
    sparse.forward(block, context);
  }

  Cost cost() const {
    const double routed = static_cast<double>((per_image ? size.images : rows()) * width * experts);
    const double in_experts = static_cast<double>(context.expert_rows() * MlpType::multiply_adds);
    return {routed + in_experts, static_cast<double>(2 * rows() * width) * sizeof(float) +
                                     bytes_read(parameters, share_of_used_experts(context.plan(0)))};
  }
};

}  // namespace moevit::bench
