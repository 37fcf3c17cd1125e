/// A router of one's own in a V-MoE: the cosine router of Swin-MoE (Hwang et al. 2022), which scores a token by the
/// angle between its direction and that of each expert. Everything but the routing - dispatch, experts, capacity, the
/// plan - stays moevit's.
#include "common/program.hpp"

#include <moevit/moevit.hpp>

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

using moevit::Index;

template <Index dim_, Index experts_>
class CosineRouter {
 public:
  static constexpr Index dim = dim_;
  static constexpr Index experts = experts_;
  static constexpr moevit::RouterScope scope = moevit::RouterScope::block;  // a router in every sparse block

  CosineRouter() : directions_(experts * dim) {}

  void route(const moevit::RouteRequest& request, moevit::Routing& routing) const {
    routing.resize(request.tokens.rows(), experts);
    const moevit::ConstMatrixView directions(directions_.data(), experts, dim);
    for (Index token = 0; token < request.tokens.rows(); ++token)
      for (Index expert = 0; expert < experts; ++expert)
        routing.logits()(token, expert) = cosine(request.tokens.row(token), directions.row(expert)) / temperature;
    moevit::softmax_gates(routing.logits(), routing.gates(), request.workspace);
    moevit::check_gates(routing.gates(), request.block);
    moevit::assign_top_k(routing.gates(), request.group(), request.options, routing.plan, routing.scratch);
  }

  /// Names the parameters, so that the model loads, saves and initialises them: blocks.1.moe.router.directions.
  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    using Value = moevit::ParameterValue<Self>;
    visit(moevit::plain_parameter<Value>(prefix + ".directions", self.directions_.data(), {experts, dim},
                                         moevit::Role::router));
  }

 private:
  static constexpr float temperature = 0.07f;
  static float cosine(const auto& a, const auto& b) {
    return a.dot(b) / std::sqrt(a.squaredNorm() * b.squaredNorm() + 1e-12f);
  }

  moevit::AlignedBuffer<float> directions_;  // experts x dim
};

constexpr moevit::VitConfig config{
    .image = 32, .patch = 4, .channels = 3, .dim = 48, .depth = 4, .heads = 4, .hidden = 96, .classes = 10};
constexpr moevit::MoeConfig moe{.experts = 6, .selected = 2, .placement = moevit::every(2)};
using Experts = moevit::ExpertBank<moevit::Mlp<config.dim, 64>>;
struct Net : moevit::Vit<config, moevit::SparseMlp<CosineRouter<config.dim, moe.experts>, Experts, moe>> {};

namespace {

/// Nothing is trained here: random weights do to see a router at work.
void fill(std::vector<float>& values, std::mt19937& random, float deviation) {
  std::normal_distribution<float> normal(0.f, deviation);
  for (float& value : values) value = normal(random);
}

/// Checks what the router promises: every token goes to the two experts whose directions are nearest to it.
void check_nearest(const moevit::Routing& routing) {
  for (const moevit::Choice& choice : routing.plan.choices()) {
    Index nearer = 0;
    for (Index expert = 0; expert < routing.experts(); ++expert)
      nearer += routing.logits()(choice.token, expert) > routing.logits()(choice.token, choice.expert);
    if (nearer != choice.rank)
      moevit::fail("token ", choice.token, ": expert ", choice.expert, " is choice ", choice.rank, ", but ", nearer,
                   " are nearer");
  }
}

int route_noise() {
  std::mt19937 random(1);
  Net net;
  for (moevit::Parameter& parameter : net.parameters()) {
    if (parameter.role == moevit::Role::norm) continue;
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    fill(values, random, 0.1f);
    parameter.assign(values);
  }
  constexpr Index images = 16;
  std::vector<float> pixels(static_cast<std::size_t>(images * config.image_values())), logits(images * config.classes);
  fill(pixels, random, 1.f);
  auto run = net.context({.images = images});
  run.routing.capacity_ratio = 1.0;
  net.forward(pixels, logits, run);
  for (const int block : {1, 3}) {
    check_nearest(run.routing_of(block));
    const moevit::SparsePlan& plan = run.plan(block);
    std::printf("block %d: %d tokens, %td slots per expert\n", block, plan.tokens(), plan.capacity());
    for (int expert = 0; expert < plan.experts(); ++expert)
      std::printf("  expert %d: wanted by %4d, kept %4d, dropped %4d\n", expert, plan.demand(expert), plan.kept(expert),
                  plan.dropped(expert));
  }
  return examples::success;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Runs a small V-MoE with a router written in this file (random weights, random images) and prints the experts' "
      "loads.",
      "own_router");
  return examples::run_program(app, argc, argv, route_noise);
}
