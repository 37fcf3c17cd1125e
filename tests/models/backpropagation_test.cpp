// Training passes: the same outputs as inference, gradients that differences confirm, the same bits for any threads.
#include "catch.hpp"
#include "gradient_check.hpp"
#include "small_models.hpp"

#include <moevit/models/backpropagation.hpp>
#include <moevit/train/parameter_runs.hpp>

#include <cstring>
#include <iostream>

namespace {

using namespace small_models;

constexpr Index batch = 3;

/// A model near the given one: no parameter is zero.
template <class Net>
Net moved(const Net& net) {
  Net result = net;
  unsigned seed = 20;
  for (const Parameter& parameter : result.parameters()) {
    std::vector<float> values = parameter.values();
    const std::vector<float> noise = test::normal_values(parameter.size(), seed++, 0.f, 0.1f);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += noise[i];
    parameter.assign(values);
  }
  return result;
}

/// A model whose parameters are all zero: where gradients are added up.
template <class Net>
Net zeros() {
  Net net;
  set_to_zero(net.parameters());
  return net;
}

template <class Net>
std::vector<float> values_of(const Net& net) {
  std::vector<float> all;
  for (const ConstParameter& parameter : net.parameters()) {
    const std::vector<float> values = parameter.values();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Images, the weights of outputs in a loss, and what a training pass makes of them.
template <class Net>
struct Pass {
  std::vector<float> images = test::normal_values(batch * Net::config.image_values(), 3);
  std::vector<float> weights = test::normal_values(batch * Net::outputs_per_image * Net::config.outputs(), 4);
  std::vector<float> outputs = std::vector<float>(weights.size());
  std::vector<float> d_images = std::vector<float>(images.size());
  Net gradients = zeros<Net>();

  Pass(const Net& net, BackpropagationOptions options, int times = 1) {
    Backpropagation run(net, options);
    run.context().routing.bf16_dispatch = false;  // rounding has no slope
    for (int time = 0; time < times; ++time) {
      run.forward(net, images, outputs);
      run.backward(net, weights, gradients, d_images);
    }
  }
};

/// Calls visit(name, net) for every kind of model that can be trained.
template <class Visit>
void for_each_trainable(Visit visit) {
  for_each_model([&]<class Net>(const std::string& name, const Net& net) {
    if constexpr (requires { Backpropagation(net); }) visit(name, moved(net));
  });
}

/// The choices of all routers in a pass, as numbers.
std::vector<int> choices_of(Context& context) {
  std::vector<int> experts;
  for (const Routing& routing : context.routings())
    for (const Choice& choice : routing.plan.choices()) {
      experts.push_back(choice.token);
      experts.push_back(choice.expert);
    }
  return experts;
}

/// The loss as a function of parameters or images; notes whether routing jumped between two calls.
template <class Net>
class Loss {
 public:
  Loss(Net& net, const Pass<Net>& pass) : net_(net), pass_(pass), context_(net.context({.images = batch})) {
    context_.routing.bf16_dispatch = false;
  }
  double operator()(std::span<const float> images) {
    std::vector<float> outputs(pass_.outputs.size());
    net_.forward(images, outputs, context_);
    previous_ = std::exchange(last_, choices_of(context_));
    double sum = 0.;
    for (std::size_t i = 0; i < outputs.size(); ++i) sum += double{outputs[i]} * double{pass_.weights[i]};
    return sum;
  }
  double operator()() { return (*this)(pass_.images); }
  bool is_smooth() const { return previous_ == last_; }

 private:
  Net& net_;
  const Pass<Net>& pass_;
  Context context_;
  std::vector<int> previous_, last_;
};

}  // namespace

TEST_CASE("training passes give the bits of inference") {
  for_each_trainable([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    const Pass<Net> pass(net, {.images = batch});
    Context context = net.context({.images = batch});
    context.routing.bf16_dispatch = false;
    std::vector<float> outputs(pass.outputs.size());
    net.forward(pass.images, outputs, context);
    CHECK(same_bits(outputs, pass.outputs));
  });
}

TEST_CASE("gradients of every kind of model are those of differences") {
  int kinds = 0, compared = 0, jumped = 0;
  for_each_trainable([&]<class Net>(const std::string& name, Net net) {
    if (name == "random") return;  // its choices depend on the last bits of tokens
    INFO(name);
    const Pass<Net> pass(net, {.images = batch});
    Loss<Net> loss(net, pass);
    unsigned seed = 50;
    const std::vector<Parameter> parameters = net.parameters();
    const std::vector<ConstParameter> gradients = std::as_const(pass.gradients).parameters();
    const auto check = [&](const std::string& what, std::vector<float> values, std::vector<float> gradient,
                           std::function<double(std::span<const float>)> function) {
      const bool done = test::check_gradient({.name = what,
                                              .values = std::move(values),
                                              .gradient = std::move(gradient),
                                              .function = std::move(function),
                                              .is_smooth = [&] { return loss.is_smooth(); }},
                                             seed++);
      ++(done ? compared : jumped);
    };
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const std::vector<float> values = parameters[i].values();
      check(parameters[i].name, values, gradients[i].values(), [&](std::span<const float> moved_values) {
        parameters[i].assign(moved_values);
        return loss();
      });
      parameters[i].assign(values);
    }
    check("images", pass.images, pass.d_images, [&](std::span<const float> images) { return loss(images); });
    ++kinds;
  });
  std::cout << "gradients: " << kinds << " kinds of models, " << compared << " tensors compared, " << jumped
            << " left out because a router chose otherwise nearby\n";
  CHECK(kinds >= 8);
  CHECK(jumped * 20 < compared);
}

TEST_CASE("gradients have the same bits for any number of threads, and with checkpoints") {
  for_each_trainable([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    const Pass<Net> one(net, {.images = batch}), three(net, {.images = batch + 2, .threads = 3}),
        again(net, {.images = batch, .threads = 2, .checkpoint = true});
    for (const Pass<Net>* other : {&three, &again}) {
      CHECK(same_bits(one.outputs, other->outputs));
      CHECK(same_bits(values_of(one.gradients), values_of(other->gradients)));
      CHECK(same_bits(one.d_images, other->d_images));
    }
  });
}

TEST_CASE("gradients are added up") {
  for_each_trainable([]<class Net>(const std::string& name, const Net& net) {
    INFO(name);
    const Pass<Net> once(net, {.images = batch}), twice(net, {.images = batch}, 2);
    const std::vector<float> single = values_of(once.gradients), sum = values_of(twice.gradients);
    for (std::size_t i = 0; i < single.size(); ++i)
      REQUIRE(sum[i] == Approx(2. * double{single[i]}).epsilon(1e-4).margin(1e-5));
    CHECK(same_bits(once.d_images, twice.d_images));
  });
}

TEST_CASE("checkpoints save memory, and what is saved is counted at compile time") {
  using Run = decltype(Backpropagation(std::declval<const TopK&>()));
  constexpr RoutingOptions options = routing_options(TopK::moe);
  constexpr Index all = Run::saved_bytes(options, 8, false), fewer = Run::saved_bytes(options, 8, true);
  CHECK(fewer < all * 2 / 3);
}

TEST_CASE("training passes refuse sizes that do not fit") {
  const DenseVit net;
  Backpropagation run(net, {.images = 2});
  DenseVit gradients = zeros<DenseVit>();
  std::vector<float> images(static_cast<std::size_t>(2 * config.image_values())), outputs(10), few(9);
  run.forward(net, images, outputs);
  CHECK_THROWS_WITH(run.backward(net, few, gradients),
                    "backward: expected the gradient of 10 outputs of the last pass, found 9");
  CHECK_THROWS_AS(run.backward(net, outputs, gradients, few), Error);
  images.resize(static_cast<std::size_t>(3 * config.image_values()));
  CHECK_THROWS_AS(run.forward(net, images, outputs), Error);
}
