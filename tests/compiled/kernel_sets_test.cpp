// A program that was compiled for any machine gives the right numbers with the kernels of every set that this one has.
#include "catch.hpp"
#include "models/small_models.hpp"
#include "random_values.hpp"
#include "reference_model.hpp"

#include <moevit/layers/convolution.hpp>
#include <moevit/models/backpropagation.hpp>
#include <moevit/simd/attention.hpp>

#include <algorithm>
#include <cstring>
#include <iostream>

namespace {

using namespace small_models;

constexpr Index batch = 3;

/// The set that every machine of the family has.
#if defined(__aarch64__)
constexpr const char* family_baseline = "neon";
#else
constexpr const char* family_baseline = "baseline";
#endif

/// Calls visit(name) with each set that the library and this machine have in use, and leaves the best one.
template <class Visit>
void for_each_set(Visit visit) {
  int count = 0;
  std::string best = simd::chosen_kernels().name;
  for (const char* name : {"baseline", "sse4_2", "avx2", "avx512", "neon"}) {
    if (!simd::use_kernels(name)) {
      std::cout << "skipped: this library or machine has no kernels " << name << "\n";
      continue;
    }
    REQUIRE(std::string(simd::chosen_kernels().name) == name);
    INFO("kernels " << name);
    visit(name);
    ++count;
  }
  REQUIRE(simd::use_kernels(best.c_str()));
  CHECK(count >= 1);
}

template <class Model>
std::vector<float> logits_of(const Model& model, std::span<const float> images) {
  Context run = model.context({.images = batch, .threads = 2});
  std::vector<float> logits(static_cast<std::size_t>(batch * Model::outputs_per_image * Model::config.outputs()));
  model.forward(images, logits, run);
  return logits;
}

template <class Net>
void check_against_plain_loops(const Net& net) {
  const std::vector<float> images = test::normal_values(batch * Net::config.image_values(), 3);
  const std::vector<float> logits = logits_of(net, images);
  const std::size_t values = images.size() / batch, outputs = logits.size() / batch;
  for (std::size_t image = 0; image < batch; ++image) {
    const reference::Matrix expected = reference::forward(std::span(images).subspan(image * values, values),
                                                          reference::Weights(net.parameters()), net.description());
    for (std::size_t i = 0; i < outputs; ++i)
      CHECK(logits[image * outputs + i] == Approx(expected.values[i]).margin(1e-4).epsilon(1e-4));
  }
}

/// The largest difference, in parts of the largest expected value.
double relative_difference(std::span<const float> found, std::span<const float> expected) {
  double difference = 0., size = 0.;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i])));
    size = std::max(size, std::abs(static_cast<double>(expected[i])));
  }
  return difference / size;
}

}  // namespace

TEST_CASE("the best set of this machine is chosen, and only sets that exist can be") {
  const std::string best = simd::chosen_kernels().name;
#if defined(__x86_64__)
  CHECK(best == (simd::use_kernels("avx512")   ? "avx512"
                 : simd::use_kernels("avx2")   ? "avx2"
                 : simd::use_kernels("sse4_2") ? "sse4_2"
                                               : "baseline"));
#endif
  CHECK_FALSE(simd::use_kernels("vax"));
  CHECK(std::string(simd::chosen_kernels().name) == best);
}

TEST_CASE("models with the kernels of every set equal plain loops") {
  for_each_set([](const char*) {
    for_each_model([]<class Net>(const std::string& name, const Net& net) {
      if constexpr (std::is_base_of_v<TopK, Net> || std::is_base_of_v<Mobile, Net> ||
                    std::is_base_of_v<DenseVit, Net> || std::is_base_of_v<MobileTop2, Net>) {
        INFO(name);
        check_against_plain_loops(net);
      }
    });
  });
}

TEST_CASE("models of every kind and precision give nearly the same with all sets") {
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    if (name == "random") return;  // it draws from the bits of the tokens
    INFO(name);
    const std::vector<float> images = test::normal_values(batch * Net::config.image_values(), 4);
    const auto outputs = [&] {
      std::vector<std::vector<float>> logits{logits_of(net, images)};
      if (name != "top-k" && name != "dense") return logits;  // one each of the parts that are packed
      logits.push_back(logits_of(pack<Bf16>(net), images));
      logits.push_back(logits_of(pack<Bf16Weights>(net), images));
      logits.push_back(logits_of(pack<Int8>(net), images));
      return logits;
    };
    REQUIRE(simd::use_kernels(family_baseline));
    const std::vector<std::vector<float>> expected = outputs();
    for_each_set([&](const char*) {
      const std::vector<std::vector<float>> found = outputs();
      CHECK(relative_difference(found[0], expected[0]) < 1e-3);
      // A number next to a rounding limit of bfloat16 or int8 may fall to the other side.
      for (std::size_t i = 1; i < found.size(); ++i) CHECK(relative_difference(found[i], expected[i]) < 0.03);
    });
  });
}

TEST_CASE("gradients are nearly the same with all sets") {
  for_each_model([]<class Net>(const std::string& name, const Net& net) {
    if constexpr (std::is_base_of_v<TopK, Net> || std::is_base_of_v<DenseVit, Net>) {
      INFO(name);
      const auto gradients = [&] {
        const std::vector<float> images = test::normal_values(batch * Net::config.image_values(), 5),
                                 d_outputs = test::normal_values(batch * Net::config.outputs(), 6);
        std::vector<float> outputs(d_outputs.size()), all;
        Net result;
        Backpropagation run(net, {.images = batch, .threads = 2});
        run.forward(net, images, outputs);
        run.backward(net, d_outputs, result);
        for (const Parameter& parameter : result.parameters())
          for (const float value : parameter.values()) all.push_back(value);
        return all;
      };
      REQUIRE(simd::use_kernels(family_baseline));
      const std::vector<float> expected = gradients();
      for_each_set([&](const char*) { CHECK(relative_difference(gradients(), expected) < 1e-4); });
    }
  });
}

TEST_CASE("convolutions of many channels are nearly the same with all sets") {
  constexpr MapSize size{11, 10};
  constexpr Index channels = 32, values = size.places() * channels;
  using Layer = Convolution<channels, channels, ConvolutionWindow{3, 1, 1}>;
  for (const Storage storage : {Storage::float32, Storage::bfloat16, Storage::bfloat16_weights}) {
    const auto results = [&] {
      Layer layer;
      Layer::each_parameter(layer, "c", Role::head, [&](const Parameter& parameter) {
        parameter.assign(test::normal_values(parameter.size(), 5));
        for (WeightMatrix* store : parameter.stores) store->convert(storage);
      });
      const std::vector<float> x = test::normal_values(values, 7);
      std::vector<float> y(x.size());
      Workspace workspace(Layer::scratch(1, size));
      layer.forward({x.data(), size.places(), channels}, size, 1, {y.data(), size.places(), channels}, workspace);
      return y;
    };
    REQUIRE(simd::use_kernels(family_baseline));
    const std::vector<float> expected = results();
    for_each_set([&](const char*) {
      CHECK(relative_difference(results(), expected) < (storage == Storage::bfloat16 ? 0.03 : 1e-5));
    });
  }
}
