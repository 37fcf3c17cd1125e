#include "layers/layer_test.hpp"

#include <moevit/models/head.hpp>

using namespace moevit;

namespace {

constexpr VitConfig class_token{.image = 8, .patch = 2, .dim = 24, .heads = 3, .hidden = 40, .classes = 10};
constexpr VitConfig first_token{
    .image = 8, .patch = 2, .dim = 24, .heads = 3, .hidden = 40, .classes = 3, .head = Head::first_token};
constexpr VitConfig mean{.image = 8, .patch = 2, .dim = 20, .heads = 2, .hidden = 40, .classes = 7, .head = Head::mean};
constexpr VitConfig mean_of_patches{.image = 8,
                                    .patch = 2,
                                    .dim = 20,
                                    .heads = 2,
                                    .hidden = 40,
                                    .classes = 7,
                                    .head = Head::mean,
                                    .unread_class_token = true};
constexpr VitConfig norm_after_mean{.image = 8,
                                    .patch = 2,
                                    .dim = 20,
                                    .heads = 2,
                                    .hidden = 40,
                                    .classes = 7,
                                    .head = Head::mean,
                                    .unread_class_token = true,
                                    .final_norm = FinalNorm::after_pooling};
constexpr VitConfig map{.image = 8,
                        .patch = 2,
                        .dim = 24,
                        .heads = 3,
                        .hidden = 40,
                        .classes = 5,
                        .head = Head::map,
                        .activation = Activation::gelu_erf};
constexpr VitConfig map_of_wide_heads{.image = 8,
                                      .patch = 2,
                                      .dim = 24,
                                      .heads = 3,
                                      .hidden = 40,
                                      .classes = 5,
                                      .head_width = 10,
                                      .head = Head::map,
                                      .qk_norm = QkNorm::scale_and_bias};
constexpr VitConfig representation{
    .image = 8, .patch = 2, .dim = 24, .heads = 3, .hidden = 40, .classes = 10, .representation = 13};
constexpr VitConfig features{
    .image = 8, .patch = 2, .dim = 24, .heads = 3, .hidden = 40, .classes = 0, .head = Head::mean};

template <VitConfig config>
void check_head() {
  CAPTURE(static_cast<int>(config.head), config.dim, config.outputs());
  constexpr Index images = 5, rows = images * config.tokens();
  ClassifierHead<config> head;
  const auto parameters = test::collect([&](auto visit) { head.each_parameter(head, visit); });
  test::randomise(parameters, 1);
  const std::vector<float> stream = test::normal_values(rows * config.dim, 9, 0.3f);
  const std::vector<float> found = test::run_with_threads(head.scratch(images), [&](Workspace& workspace) {
    std::vector<float> outputs(static_cast<std::size_t>(images * config.outputs()));
    head.forward({stream.data(), rows, config.dim}, {outputs.data(), images, config.outputs()}, workspace);
    return outputs;
  });
  const reference::Weights weights(parameters);
  const reference::Matrix x(ConstMatrixView(stream.data(), rows, config.dim));
  for (Index image = 0; image < images; ++image) {
    const reference::Matrix expected =
        reference::head(x.rows_of(image * config.tokens(), config.tokens()), weights, config);
    const ConstMatrixView outputs(found.data() + image * config.outputs(), 1, config.outputs());
    CHECK(reference::relative_error(outputs, expected) <
          reference::rounding_tolerance(config.dim + config.tokens(), 4));
  }
}

}  // namespace

TEST_CASE("heads that read one token agree with plain loops") {
  check_head<class_token>();
  check_head<first_token>();
  check_head<representation>();
}

TEST_CASE("mean heads agree with plain loops: with and without class token, norm before and after") {
  check_head<mean>();
  check_head<mean_of_patches>();
  check_head<norm_after_mean>();
  check_head<features>();
}

TEST_CASE("the attention pooling head agrees with plain loops") {
  check_head<map>();
  check_head<map_of_wide_heads>();
}
