// expect: SparseMlp: the router must have dim, experts, scope and route(request, routing)
#include <moevit/models/vmoe.hpp>

using namespace moevit;

constexpr VitConfig config{.image = 32, .patch = 8, .dim = 32, .depth = 4, .heads = 2, .hidden = 64, .classes = 10};

struct FirstExpert {
  static constexpr Index dim = 32;
  static constexpr Index experts = 2;
  static constexpr RouterScope scope = RouterScope::block;
#ifndef MUST_NOT_COMPILE
  void route(const RouteRequest& request, Routing& routing) const {
    routing.plan.start(request.tokens.rows(), experts, 1, request.tokens.rows());
    routing.plan.finish();
  }
#endif
};

int main() { return Vit<config, SparseMlp<FirstExpert, ExpertBank<Mlp<32, 64>>>>::scratch_bytes(1, 1) == 0; }
