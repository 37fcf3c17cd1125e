/// Training passes of every kind of small model.
#pragma once

#include "gradient_check.hpp"
#include "parameter_values.hpp"
#include "random_values.hpp"
#include "same_bits.hpp"
#include "small_models.hpp"

#include <moevit/models/hierarchical_backpropagation.hpp>
#include <moevit/train/parameter_runs.hpp>

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace small_models {

using moevit::test::same_bits, moevit::test::values_of;

inline constexpr Index batch = 3;

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

/// Images, the weights of outputs in a loss, and what a training pass makes of them.
template <class Net>
struct Pass {
  std::vector<float> images = test::normal_values(batch * Net::config.image_values(), 3);
  std::vector<float> weights = test::normal_values(batch * Net::outputs_per_image * Net::config.outputs(), 4);
  std::vector<float> outputs = std::vector<float>(weights.size());
  std::vector<float> d_images = std::vector<float>(images.size());
  Net gradients = zeros<Net>();

  Pass(const Net& net, BackpropagationOptions options, int times = 1, const Drop& drop = {}) {
    Backpropagation run(net, options);
    run.drop = drop;
    run.context().routing.bf16_dispatch = false;  // rounding has no slope
    for (int time = 0; time < times; ++time) {
      run.forward(net, images, outputs);
      run.backward(net, weights, gradients, d_images);
    }
  }
};

/// Tensors whose gradients were compared with differences, and those left out because a router chose otherwise nearby.
struct CheckedTensors {
  int compared = 0, jumped = 0;

  void operator+=(const CheckedTensors& other) { compared += other.compared, jumped += other.jumped; }
};

/// Compares the gradients of all parameters and of the images in a pass with differences of loss(images), which also
/// says is_smooth().
template <class Net, class Loss>
CheckedTensors check_pass(Net& net, const Pass<Net>& pass, Loss& loss, unsigned seed) {
  CheckedTensors checked;
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
    ++(done ? checked.compared : checked.jumped);
  };
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::vector<float> values = parameters[i].values();
    check(parameters[i].name, values, gradients[i].values(), [&](std::span<const float> moved_values) {
      parameters[i].assign(moved_values);
      return loss(pass.images);
    });
    parameters[i].assign(values);
  }
  check("images", pass.images, pass.d_images, [&](std::span<const float> images) { return loss(images); });
  return checked;
}

/// Layer scale in dense and sparse blocks.
struct LayerScale : VMoe<VitConfig{.image = 16,
                                   .patch = 4,
                                   .channels = 2,
                                   .dim = 20,
                                   .depth = 4,
                                   .heads = 2,
                                   .hidden = 36,
                                   .classes = 5,
                                   .layer_scale = true},
                         MoeConfig{.experts = 4, .selected = 2, .placement = every(2)}> {};

/// Calls visit(name, net) for every kind of model that can be trained.
template <class Visit>
void for_each_trainable(Visit visit) {
  for_each_model([&]<class Net>(const std::string& name, const Net& net) {
    if constexpr (requires { Backpropagation(net); }) visit(name, moved(net));
  });
  visit(std::string("layer scale"), moved(random_model<LayerScale>()));
}

/// The choices of all routers in a pass, as numbers.
inline std::vector<int> choices_of(Context& context) {
  std::vector<int> experts;
  for (const Routing& routing : context.routings())
    for (const Choice& choice : routing.plan.choices()) {
      experts.push_back(choice.token);
      experts.push_back(choice.expert);
    }
  return experts;
}

}  // namespace small_models
