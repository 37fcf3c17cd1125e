/// The shipped weights in reduced precision, on all test images: what changes, and that routers only change their mind
/// where they were almost undecided.
#include "../examples/common/models.hpp"
#include "catch.hpp"
#include "golden/trained_models.hpp"

#include <moevit/io/weights.hpp>

#include <set>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr std::size_t batch = 100;

/// What one model made of all images.
struct Answers {
  std::vector<std::int32_t> classes;
  std::vector<float> router_logits;                    ///< of all sparse blocks, batch by batch
  std::vector<std::set<std::int32_t>> router_choices;  ///< beside them, one set per row
  Index experts = 0;
};

/// Whether a router decides per image, and so its choices are made `tokens` at a time.
template <class Net>
constexpr bool decides_per_image = std::is_same_v<Net, examples::FashionMobileVMoe>;

template <class Net>
void keep_routing(const Context& context, Answers& answers) {
  for (int block = 0; block < context.depth(); ++block) {
    if (!context.is_sparse(block)) continue;
    const ConstMatrixView logits = context.routing_of(block).logits();
    answers.experts = logits.cols();
    answers.router_logits.insert(answers.router_logits.end(), logits.data(), logits.data() + logits.size());
    const Index per_row = decides_per_image<Net> ? Net::config.tokens() : 1;
    const std::size_t first = answers.router_choices.size();
    answers.router_choices.resize(first + static_cast<std::size_t>(logits.rows()));
    for (const Choice& choice : context.plan(block).choices())
      answers.router_choices[first + static_cast<std::size_t>(choice.token / per_row)].insert(choice.expert);
    if (decides_per_image<Net>) return;  // its blocks share one plan
  }
}

template <class Net, class Model>
Answers answers_of(const Model& model, const TestSet& set) {
  Answers answers;
  Context context = model.context({.images = batch, .threads = hardware_threads()});
  std::vector<float> logits(batch * static_cast<std::size_t>(Net::config.outputs()));
  for (std::size_t first = 0; first < set.size(); first += batch) {
    model.forward(std::span(set.images).subspan(first * set.image_values, batch * set.image_values), logits, context);
    for (const std::int32_t predicted : predictions(logits, batch)) answers.classes.push_back(predicted);
    keep_routing<Net>(context, answers);
  }
  return answers;
}

/// Distance of the last chosen expert's logit from the best one that was not chosen.
float margin(const Answers& answers, std::size_t row) {
  float chosen = std::numeric_limits<float>::infinity(), other = -chosen;
  for (Index expert = 0; expert < answers.experts; ++expert) {
    const float logit =
        answers.router_logits[row * static_cast<std::size_t>(answers.experts) + static_cast<std::size_t>(expert)];
    if (answers.router_choices[row].contains(static_cast<std::int32_t>(expert)))
      chosen = std::min(chosen, logit);
    else
      other = std::max(other, logit);
  }
  return chosen - other;
}

/// Choices that differ although their margin was at least four times the largest difference of any router logit.
std::size_t surprising_choices(const Answers& exact, const Answers& reduced, const std::string& name) {
  float error = 0.f;
  for (std::size_t i = 0; i < exact.router_logits.size(); ++i)
    error = std::max(error, std::abs(exact.router_logits[i] - reduced.router_logits[i]));
  std::size_t different = 0, surprising = 0;
  for (std::size_t row = 0; row < exact.router_choices.size(); ++row) {
    if (exact.router_choices[row] == reduced.router_choices[row]) continue;
    ++different;
    surprising += margin(exact, row) >= 4.f * error;
  }
  std::cout << name << ": router logits differ by at most " << error << ", " << different << " of "
            << exact.router_choices.size() << " choices differ\n";
  return surprising;
}

template <class Policy, class Net>
void check_policy(const std::string& name, const Net& net, const TestSet& set, const Answers& exact, Index allowed) {
  const Answers reduced = answers_of<Net>(pack<Policy>(net), set);
  const auto correct = [&](const Answers& a) { return static_cast<Index>(count_equal(a.classes, set.labels)); };
  std::cout << name << ": " << correct(reduced) << " of " << set.size() << " correct, float32 " << correct(exact)
            << ", " << set.size() - count_equal(reduced.classes, exact.classes) << " predictions differ\n";
  CHECK(std::abs(correct(reduced) - correct(exact)) <= allowed);
  CHECK(surprising_choices(exact, reduced, name) == 0);
}

template <class Net>
void check_model(const std::string& file) {
  Net net;
  load(net, std::filesystem::path(__FILE__).parent_path() / "../../examples/weights" / file);
  const auto set = fashion_mnist(net.preprocessing());
  if (!set) return;
  REQUIRE(set->size() % batch == 0);
  const Answers exact = answers_of<Net>(net, *set);
  check_policy<Bf16>(file + ", bf16", net, *set, exact, 10);
  check_policy<Bf16Weights>(file + ", bf16 weights", net, *set, exact, 10);
  check_policy<Int8>(file + ", int8", net, *set, exact, 30);
}

}  // namespace

TEST_CASE("shipped weights in bf16 and int8: counts on all test images, and choices of routers", "[large]") {
  check_model<examples::FashionVMoe>("fashion_vmoe.safetensors");
  check_model<examples::FashionMobileVMoe>("fashion_mobile_vmoe.safetensors");
}
