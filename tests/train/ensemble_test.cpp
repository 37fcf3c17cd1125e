// Ensembles in training: mean of the members' losses, mean of their probabilities, auxiliary losses by member.
#include "random_values.hpp"
#include "train/resumed_runs.hpp"

#include <cmath>

using namespace moevit;
using namespace moevit::test;

namespace {

struct TinyEnsemble : VMoe<tiny, MoeConfig{.experts = 4, .selected = 1, .placement = every(2), .members = 2}> {};

TinyEnsemble initial_ensemble() {
  TinyEnsemble net;
  initialise(net.parameters(), {.seed = 1, .zero_head = false});
  return net;
}

/// Probabilities of one row of logits.
std::vector<double> softmax(const float* logits, Index classes) {
  std::vector<double> result;
  double sum = 0;
  for (Index i = 0; i < classes; ++i) sum += result.emplace_back(std::exp(double{logits[i]}));
  for (double& value : result) value /= sum;
  return result;
}

}  // namespace

TEST_CASE("an ensemble learns, and a run that is ended goes on to the same bits") {
  TrainerOptions options = tiny_options({});
  options.cutmix = 1;
  check_resumes<TinyEnsemble>(options);

  const TemporaryFolder folder;
  options = tiny_options(folder / "learns");
  options.steps = 150;
  options.mixup = 0;
  CHECK(train<TinyEnsemble>(images(), options).best_accuracy == 1.);
  const TrainingHistory history = read_training_log(folder / "learns" / "log.jsonl");
  CHECK(history.training.back().loss < 0.5 * history.training.front().loss);
  CHECK(history.training.back().auxiliary > 0);
}

TEST_CASE("the loss of an ensemble is the mean of its members', its prediction the mean of their probabilities") {
  const TinyEnsemble net = initial_ensemble();
  TrainerOptions options = tiny_options("unused");
  options.mixup = options.label_smoothing = options.router.noise_std = 0;
  TrainingPass<TinyEnsemble> pass(net, options);
  constexpr Index count = 7, classes = 3, members = 2;
  Loader loader(images(), detail::whole_numbers(count), net.preprocessing(), {.batch = count});
  const Batch batch = loader.next();
  std::vector<float> logits(count * members * classes);
  Context context = net.context({.images = count});
  net.forward({batch.images.data(), static_cast<std::size_t>(batch.images.size())}, logits, context);
  double member_loss = 0, mean_loss = 0;
  Index correct = 0;
  for (Index image = 0; image < count; ++image) {
    const auto label = static_cast<std::size_t>(batch.labels[static_cast<std::size_t>(image)]);
    std::vector<double> mean(classes);
    for (Index member = 0; member < members; ++member) {
      const std::vector<double> own = softmax(logits.data() + (image * members + member) * classes, classes);
      member_loss -= std::log(own[label]) / (count * members);
      for (std::size_t i = 0; i < own.size(); ++i) mean[i] += own[i] / members;
    }
    mean_loss -= std::log(mean[label]) / count;
    correct += static_cast<std::size_t>(std::max_element(mean.begin(), mean.end()) - mean.begin()) == label;
  }
  CHECK(member_loss > mean_loss);  // the logarithm is concave
  CHECK(pass.compute(net, batch, 0).loss == Approx(member_loss).epsilon(1e-6));
  loader.seek(0, 0);
  const Evaluation found = pass.evaluate(net, loader);
  CHECK(found.loss == Approx(mean_loss).epsilon(1e-6));
  CHECK(found.accuracy == Approx(static_cast<double>(correct) / count));
}

TEST_CASE("probabilities of members are averaged where one of them is nearly 0") {
  const float logits[] = {0.f, 0.f,    200.f, 0.f,  //
                          0.f, 3000.f, 0.f,   3000.f};
  float means[4];
  mean_of_members({logits, 4, 2}, 2, {means, 2, 2});
  CHECK(double{means[0]} == Approx(std::log(0.75)));
  CHECK(double{means[1]} == Approx(std::log(0.25)));
  CHECK(double{means[2]} == Approx(-3000.));
  CHECK(means[3] == 0.f);
  CHECK_THROWS_WITH(mean_of_members({logits, 4, 2}, 3, {means, 2, 2}),
                    "mean of members: expected 2 x 3 rows of 2 logits, found 4 of 2");
}

TEST_CASE("auxiliary losses of an ensemble are the mean over its members, each with its own experts and tokens") {
  constexpr Index count = 3, members = 2, tokens = 4, experts = 6, own = experts / members;
  const ModelDescription model{ModelFamily::vmoe, tiny,
                               MoeConfig{.experts = experts, .selected = 2, .members = members}};
  RouterTraining training;
  training.losses = {.importance = 0.5, .load = 0.25, .gshard = 0.75, .z = 0.125};
  Routing routing;
  routing.resize(count * members * tokens, experts);
  routing.resize_noisy();
  const std::vector<float> values = normal_values(routing.rows() * experts, 4),
                           noise = normal_values(routing.rows() * experts, 5, 0.f, 0.3f);
  for (Index i = 0; i < routing.rows() * experts; ++i) {
    const auto place = static_cast<std::size_t>(i);
    routing.logits().data()[i] = values[place];
    routing.noisy_logits().data()[i] = values[place] + noise[place];
  }
  RoutingOptions options;
  options.selected = 2;
  options.noise_std = 1;
  for (const Index group_images : {0, 1}) {
    CAPTURE(group_images);
    options.group_images = group_images;
    const Index groups = group_images ? count : 1, images_per_group = count / groups;
    RowMajorMatrix expected = RowMajorMatrix::Constant(routing.rows(), experts, 0.5f), found = expected;
    double loss = 0;
    for (Index group = 0; group < groups; ++group)
      for (Index member = 0; member < members; ++member) {
        RowMajorMatrix logits(images_per_group * tokens, own), noisy = logits;
        const auto row_of = [&](Index row) {
          const Index image = group * images_per_group + row / tokens;
          return (image * members + member) * tokens + row % tokens;
        };
        for (Index row = 0; row < logits.rows(); ++row)
          for (Index i = 0; i < own; ++i) {
            logits(row, i) = routing.logits()(row_of(row), member * own + i);
            noisy(row, i) = routing.noisy_logits()(row_of(row), member * own + i);
          }
        RowMajorMatrix gradient = RowMajorMatrix::Zero(logits.rows(), own);
        const ConstMatrixView clean(logits.data(), logits.rows(), own), with_noise(noisy.data(), noisy.rows(), own);
        const double weight = 1. / static_cast<double>(groups * members);
        loss += weight * auxiliary_losses(clean, with_noise, 2, 1, training.losses).total;
        add_auxiliary_gradient(clean, with_noise, 2, 1, training.losses, weight,
                               {gradient.data(), gradient.rows(), own});
        for (Index row = 0; row < logits.rows(); ++row)
          for (Index i = 0; i < own; ++i) expected(row_of(row), member * own + i) += gradient(row, i);
      }
    RouterLosses losses(model, training);
    losses.start({nullptr, 0, 3});
    losses.add(routing, options, count, tokens, {found.data(), found.rows(), experts});
    CHECK(losses.auxiliary() == Approx(loss));
    CHECK((found - expected).cwiseAbs().maxCoeff() < 1e-6f);
  }
}
