/// Routers from tokens to a finished plan: scores, gates, assignment.
#include "moe_common.hpp"

#include <moevit/moe/per_image_router.hpp>
#include <moevit/moe/top_k_router.hpp>

#include <memory>

namespace moevit::bench {
namespace {

/// A router with random weights and what it needs to run.
template <class RouterType>
struct Routed {
  RoutingOptions options;
  RouterType router;
  std::vector<Parameter> parameters =
      random_parameters([this](auto visit) { RouterType::each_parameter(router, "router", visit); });
  std::vector<std::vector<float>> x;
  Workspace workspace{ScratchBytes{arena_bytes<float>(images * RouterType::dim), 0}};
  Routing routing;

  explicit Routed(const RoutingOptions& routing_options) : options(routing_options) {
    for (unsigned input = 0; input < inputs; ++input)
      x.push_back(image_tokens(images, tokens_per_image, RouterType::dim, 1000 * (input + 1)));
  }

  ConstMatrixView stream(Index input) const {
    return {x[static_cast<std::size_t>(input)].data(), tokens, RouterType::dim};
  }
  Work run(Index input) {
    router.route({stream(input), images, tokens_per_image, 1, 0, 1, options, workspace}, routing);
    return {.multiply_adds = static_cast<double>(routing.rows() * RouterType::dim * RouterType::experts),
            .tokens = static_cast<double>(tokens)};
  }
  /// The gates against float64 of all tokens, or of their means for a router per image; returns those that were used.
  reference::Matrix check_gates(Index input) const {
    reference::Matrix rows(stream(input));
    if (RouterType::scope == RouterScope::model) {
      reference::Matrix means(images, RouterType::dim);
      for (Index image = 0; image < images; ++image)
        std::copy_n(reference::mean_of(rows.rows_of(image * tokens_per_image, tokens_per_image)).row(0),
                    RouterType::dim, means.row(image));
      rows = means;
    }
    require_close(routing.gates(), reference::router_gates(rows, reference::Weights(parameters), "router"),
                  reference::rounding_tolerance(RouterType::dim, 4));
    return reference::Matrix(routing.gates());
  }
};

/// expected(gates): the kept choices by plain loops.
template <class RouterType, class Expected>
Case router_case(const RoutingOptions& options, Expected expected) {
  const auto routed = std::make_shared<Routed<RouterType>>(options);
  return {[routed](Index input) { return routed->run(input); },
          [routed, expected](Index input) {
            require_same(routed->routing.plan, expected(routed->check_gates(input), routed->routing.plan));
          }};
}

template <Index experts>
void add_per_patch(const std::string& name, Priority priority) {
  RoutingOptions options{.capacity_ratio = 1.05, .priority = priority, .selected = 2};
  add("routing/" + name + "/T1576_E" + std::to_string(experts) + "_top2_C1.05", [options] {
    return router_case<TopKRouter<dim, experts>>(
        options, [options](const reference::Matrix& gates, const SparsePlan& plan) {
          return plain_top_k(gates, options.selected, plan.capacity(), options.priority);
        });
  });
}

template <Index experts>
void add_expert_choice() {
  const RoutingOptions options{.capacity_ratio = 1., .capacity_multiple = 1, .group_images = 1};
  add("routing/expert_choice/T1576_E" + std::to_string(experts), [options] {
    return router_case<ExpertChoiceRouter<dim, experts>>(
        options, [](const reference::Matrix& gates, const SparsePlan& plan) {
          return plain_expert_choice(gates, tokens_per_image, plan.capacity());
        });
  });
}

/// All tokens of an image go where its mean goes; slots number the tokens of an expert.
std::vector<Kept> plain_per_image(const reference::Matrix& gates) {
  std::vector<Index> filled(static_cast<std::size_t>(gates.cols));
  std::vector<Kept> kept;
  for (Index token = 0; token < tokens; ++token) {
    const Index expert = reference::largest(gates.row(token / tokens_per_image), gates.cols, 1)[0];
    kept.push_back({token, expert, filled[static_cast<std::size_t>(expert)]++});
  }
  return kept;
}

const bool added = [] {
  add("routing/per_image/B8_E10_top1", [] {
    return router_case<PerImageRouter<192, 10>>(
        RoutingOptions{}, [](const reference::Matrix& gates, const SparsePlan&) { return plain_per_image(gates); });
  });
  add_per_patch<8>("per_patch", Priority::position);
  add_per_patch<32>("per_patch", Priority::position);
  add_per_patch<8>("batch_priority", Priority::max_gate);
  add_per_patch<32>("batch_priority", Priority::max_gate);
  add_expert_choice<8>();
  add_expert_choice<32>();
  return true;
}();

}  // namespace
}  // namespace moevit::bench
