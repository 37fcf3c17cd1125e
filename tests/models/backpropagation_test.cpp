// Training passes: the same outputs as inference, gradients that differences confirm, the same bits for any threads.
#include "catch.hpp"
#include "models/training_passes.hpp"

#include <iostream>

namespace {

using namespace small_models;

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
  int kinds = 0;
  CheckedTensors checked;
  for_each_trainable([&]<class Net>(const std::string& name, Net net) {
    if (name == "random") return;  // its choices depend on the last bits of tokens
    INFO(name);
    const Pass<Net> pass(net, {.images = batch});
    Loss<Net> loss(net, pass);
    checked += check_pass(net, pass, loss, 50);
    ++kinds;
  });
  std::cout << "gradients: " << kinds << " kinds of models, " << checked.compared << " tensors compared, " << checked.jumped
            << " left out because a router chose otherwise nearby\n";
  CHECK(kinds >= 8);
  CHECK(checked.jumped * 20 < checked.compared);
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
