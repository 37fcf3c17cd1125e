/// Routers from tokens to a finished plan: scores, gates, assignment.
#include "moe_common.hpp"

#include <moevit/moe/per_image_router.hpp>
#include <moevit/moe/top_k_router.hpp>

#include <memory>

namespace moevit::bench {
namespace {

/// A batch to route.
struct Shape {
  Index images = bench::images;
  Index tokens_per_image = bench::tokens_per_image;
  Index tokens() const { return images * tokens_per_image; }
};

/// Which part of routing is timed: all of it, or one step on what the steps before it left for the same input.
enum class Part { whole, logits, gates, plan };

/// A router with random weights, what it needs to run, and what it left behind for every input.
template <class RouterType>
struct Routed {
  struct Open : RouterType {  // the router's scores are its own business, but here they are timed alone
    const auto& scores() const { return this->scores_; }
  };

  Shape shape;
  RoutingOptions options;
  Open router;
  std::vector<Parameter> parameters =
      random_parameters([this](auto visit) { RouterType::each_parameter(router, "router", visit); });
  std::vector<std::vector<float>> x;
  Workspace workspace;
  std::vector<Routing> routings{static_cast<std::size_t>(inputs)};

  Routed(Shape batch, const RoutingOptions& routing_options)
      : shape(batch),
        options(routing_options),
        workspace(ScratchBytes{arena_bytes<float>(batch.images * RouterType::dim),
                               router_worker_bytes(batch.tokens(), RouterType::dim)}) {
    for (unsigned input = 0; input < inputs; ++input)
      x.push_back(image_tokens(shape.images, shape.tokens_per_image, RouterType::dim, 1000 * (input + 1)));
    for (Index input = 0; input < inputs; ++input) route(input);
  }

  ConstMatrixView stream(Index input) const {
    return {x[static_cast<std::size_t>(input)].data(), shape.tokens(), RouterType::dim};
  }
  Routing& routing(Index input) { return routings[static_cast<std::size_t>(input)]; }
  void route(Index input) {
    router.route({stream(input), shape.images, shape.tokens_per_image, 1, 0, 1, options, workspace}, routing(input));
  }
  Work run(Index input, Part part) {
    Routing& left = routing(input);
    Work work{.tokens = static_cast<double>(shape.tokens())};
    if (part == Part::whole || part == Part::logits)
      work.multiply_adds = static_cast<double>(left.rows() * RouterType::dim * RouterType::experts);
    if (part == Part::whole) route(input);
    if constexpr (RouterType::scope == RouterScope::block) {
      if (part == Part::logits)
        router_logits(stream(input), router.scores().kernel(), nullptr, left.logits(), workspace);
      if (part == Part::gates) {
        softmax_gates(left.logits(), left.gates(), workspace);
        check_gates(left.gates(), 0);
      }
      if (part == Part::plan) assign_top_k(left.gates(), shape.tokens(), options, left.plan, left.scratch);
    }
    return work;
  }
  /// The gates against float64 of all tokens, or of their means for a router per image; returns those that were used.
  reference::Matrix check_gates_of(Index input) {
    reference::Matrix rows(stream(input));
    if (RouterType::scope == RouterScope::model) {
      reference::Matrix means(shape.images, RouterType::dim);
      for (Index image = 0; image < shape.images; ++image)
        std::copy_n(reference::mean_of(rows.rows_of(image * shape.tokens_per_image, shape.tokens_per_image)).row(0),
                    RouterType::dim, means.row(image));
      rows = means;
    }
    require_close(routing(input).gates(), reference::router_gates(rows, reference::Weights(parameters), "router"),
                  reference::rounding_tolerance(RouterType::dim, 4));
    return reference::Matrix(routing(input).gates());
  }
};

/// expected(gates, plan): the kept choices by plain loops.
template <class RouterType, class Expected>
Case router_case(Shape shape, const RoutingOptions& options, Part part, Expected expected) {
  const auto routed = std::make_shared<Routed<RouterType>>(shape, options);
  return {[routed, part](Index input) { return routed->run(input, part); },
          [routed, expected](Index input) {
            require_same(routed->routing(input).plan,
                         expected(routed->check_gates_of(input), routed->routing(input).plan));
          }};
}

template <Index width, Index experts>
void add_top_k(const std::string& name, Shape shape, RoutingOptions options, Part part = Part::whole) {
  options.selected = 2;
  add("routing/" + name + "_E" + std::to_string(experts) + "_top2", [shape, options, part] {
    return router_case<TopKRouter<width, experts>>(
        shape, options, part, [options](const reference::Matrix& gates, const SparsePlan& plan) {
          return plain_top_k(gates, options.selected, plan.capacity(), options.priority);
        });
  });
}

/// The V-MoE layer's router with limited buffers, whole and in its parts.
template <Index experts>
void add_per_patch() {
  const RoutingOptions position{.capacity_ratio = 1.05},
      batch_priority{.capacity_ratio = 1.05, .priority = Priority::max_gate};
  add_top_k<dim, experts>("per_patch/T1576_D384_C1.05", {}, position);
  add_top_k<dim, experts>("batch_priority/T1576_D384_C1.05", {}, batch_priority);
  add_top_k<dim, experts>("batch_priority_logits/T1576_D384_C1.05", {}, batch_priority, Part::logits);
  add_top_k<dim, experts>("batch_priority_gates/T1576_D384_C1.05", {}, batch_priority, Part::gates);
  add_top_k<dim, experts>("batch_priority_plan/T1576_D384_C1.05", {}, batch_priority, Part::plan);
}

/// How routing grows with the number of experts.
template <Index... experts>
void add_growth() {
  constexpr Shape shape{.images = 32, .tokens_per_image = 256};
  (add_top_k<64, experts>("growth/T8192_D64", shape, {}), ...);
  (add_top_k<64, experts>("growth_logits/T8192_D64", shape, {}, Part::logits), ...);
  (add_top_k<64, experts>("growth_gates/T8192_D64", shape, {}, Part::gates), ...);
  (add_top_k<64, experts>("growth_plan/T8192_D64", shape, {}, Part::plan), ...);
}

template <Index experts>
void add_expert_choice() {
  const RoutingOptions options{.capacity_ratio = 1., .capacity_multiple = 1, .group_images = 1};
  add("routing/expert_choice/T1576_E" + std::to_string(experts), [options] {
    return router_case<ExpertChoiceRouter<dim, experts>>(
        {}, options, Part::whole, [](const reference::Matrix& gates, const SparsePlan& plan) {
          return plain_expert_choice(gates, tokens_per_image, plan.capacity());
        });
  });
}

/// All tokens of an image go where its mean goes; slots number the tokens of an expert.
std::vector<Kept> plain_per_image(const reference::Matrix& gates) {
  std::vector<Index> filled(static_cast<std::size_t>(gates.cols));
  std::vector<Kept> kept;
  for (Index token = 0; token < gates.rows * tokens_per_image; ++token) {
    const Index expert = reference::largest(gates.row(token / tokens_per_image), gates.cols, 1)[0];
    kept.push_back({token, expert, filled[static_cast<std::size_t>(expert)]++});
  }
  return kept;
}

void add_per_image(Index count) {
  add("routing/per_image/B" + std::to_string(count) + "_E10_top1", [count] {
    return router_case<PerImageRouter<192, 10>>(
        {.images = count}, {}, Part::whole,
        [](const reference::Matrix& gates, const SparsePlan&) { return plain_per_image(gates); });
  });
}

const bool added = [] {
  for (const Index count : {1, 8, 16}) add_per_image(count);
  add_per_patch<8>();
  add_per_patch<32>();
  add_growth<8, 16, 32, 64, 128, 256>();
  add_expert_choice<8>();
  add_expert_choice<32>();
  return true;
}();

}  // namespace
}  // namespace moevit::bench
