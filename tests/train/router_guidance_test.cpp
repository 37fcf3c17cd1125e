// Teacher-guided routing: routers imitate those of a frozen dense teacher.
#include "random_values.hpp"
#include "train/loss_gradient_check.hpp"
#include "train/resumed_runs.hpp"

#include <moevit/train/model_teacher.hpp>

#include <cmath>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr VitConfig wide{
    .image = 8, .patch = 4, .channels = 1, .dim = 12, .depth = 2, .heads = 3, .hidden = 20, .classes = 3};
struct WideVit : Vit<wide> {};
struct EverySparse : VMoe<tiny, MoeConfig{.experts = 4, .selected = 2, .placement = every(1)}> {};

/// A teacher with random weights.
template <class Net>
struct Teacher {
  Teacher() { randomise(net.parameters(), 6); }
  Net net;
  ModelTeacher<Net> model{net};
};

TrainerOptions guided(const std::filesystem::path& folder, RouterTeacher& teacher, GuidedSteps steps) {
  TrainerOptions options = tiny_options(folder);
  options.router.guidance = {.steps = steps, .teacher = &teacher};
  return options;
}

/// The loss of a teacher's router in double precision.
double router_loss(const reference::Matrix& logits, double balance, double entropy) {
  reference::Matrix gates = logits;
  std::vector<double> sums(static_cast<std::size_t>(gates.cols), 0.);
  double uncertainty = 0, mean = 0, variance = 0;
  for (Index row = 0; row < gates.rows; ++row) {
    reference::softmax_row(gates.row(row), gates.cols, 1.);
    for (Index col = 0; col < gates.cols; ++col) {
      sums[static_cast<std::size_t>(col)] += gates(row, col);
      uncertainty -= gates(row, col) * std::log(gates(row, col)) / static_cast<double>(gates.rows);
    }
  }
  for (const double sum : sums) mean += sum / static_cast<double>(sums.size());
  for (const double sum : sums) variance += (sum - mean) * (sum - mean) / static_cast<double>(sums.size());
  return balance * variance / (mean * mean) + entropy * uncertainty;
}

}  // namespace

TEST_CASE("the loss of a teacher's router has the gradient of its formula") {
  const RowMajorMatrix logits = random_logits(7, 5, 3);
  const TeacherRouterWeights weights{.balance = 0.3, .entropy = 0.7};
  RowMajorMatrix found = filled_like(logits, 0.5f);
  const double loss = add_teacher_router_loss(const_view(logits), weights, view(found));
  CHECK(loss == Approx(router_loss(reference::Matrix{const_view(logits)}, 0.3, 0.7)));
  check_gradient(logits, 0.5f, found, [](const reference::Matrix& x) { return router_loss(x, 0.3, 0.7); });
  RowMajorMatrix untouched = filled_like(logits, 0.5f);
  CHECK(add_teacher_router_loss(const_view(logits), {.balance = 0, .entropy = 0}, view(untouched)) == 0);
  CHECK(untouched == filled_like(logits, 0.5f));
  CHECK_THROWS_AS(add_teacher_router_loss(const_view(logits), weights, MatrixView(found.data(), 7, 4)), Error);
}

TEST_CASE("a teacher shows its tokens behind every block") {
  Teacher<WideVit> teacher;
  teacher.model.reserve(4, 2);
  const std::vector<float> pixels = normal_values(3 * wide.image_values(), 2);
  teacher.model.run(pixels);
  struct Last : Observer {
    void block_output(int block, ConstMatrixView stream) override {
      if (block == 1) tokens = stream;
    }
    RowMajorMatrix tokens;
  } last;
  Context context = teacher.net.context({.images = 3});
  context.observer = &last;
  std::vector<float> logits(9);
  teacher.net.forward(pixels, logits, context);
  CHECK(teacher.model.features(1).rows() == 3 * wide.tokens());
  CHECK(RowMajorMatrix(teacher.model.features(1)) == last.tokens);
  CHECK(RowMajorMatrix(teacher.model.features(0)) != last.tokens);
  CHECK(contains(error_of([&] { teacher.model.run(normal_values(5 * wide.image_values(), 2)); }),
                 "expected up to 4 images"));
  Teacher<WideVit> other;
  CHECK(other.model.identity() == teacher.model.identity());
  other.net.parameters().front().assign(
      std::vector<float>(static_cast<std::size_t>(other.net.parameters().front().size()), 1.f));
  CHECK(other.model.identity() != teacher.model.identity());
}

TEST_CASE("guided routers come to agree with the teacher's") {
  const TemporaryFolder folder;
  TrainerOptions dense = tiny_options(folder / "dense");
  dense.steps = 120;
  train<TinyVit>(images(), dense);
  Teacher<TinyVit> teacher;
  load(teacher.net, folder / "dense" / "weights.safetensors");
  const auto routers_of = [&](GuidedSteps steps, const std::string& name) {
    TrainerOptions options = guided(folder / name, teacher.model, steps);
    options.steps = 200;
    options.schedule = {.decay = Decay::none, .peak = 3e-3};
    options.loader.augmentation.shift = 0;
    options.mixup = options.label_smoothing = 0;
    train<EverySparse>(images(), options);
    return read_training_log(folder / name / "log.jsonl").training;
  };
  const auto all = routers_of(GuidedSteps::all, "all");
  CHECK(all.front().router > 0);
  CHECK(all.back().router < 0.5 * all.front().router);
  CHECK(all.back().loss < 0.8 * all.front().loss);
  const auto half = routers_of(GuidedSteps::first_half, "half");
  REQUIRE(half.size() == all.size());
  for (std::size_t i = 0; i < half.size(); ++i) {
    INFO("step " << half[i].step);
    CHECK((half[i].router > 0) == (half[i].step <= 100));
    if (half[i].step <= 100) CHECK(half[i].loss == all[i].loss);
  }
}

TEST_CASE("a guided run that is ended anywhere goes on to the bits of an unbroken one") {
  Teacher<WideVit> teacher;
  SECTION("first half") { check_resumes<TinyVMoe>(guided({}, teacher.model, GuidedSteps::first_half)); }
  SECTION("all steps, computing blocks again") {
    TrainerOptions options = guided({}, teacher.model, GuidedSteps::all);
    options.recompute = true;
    check_resumes<EverySparse>(options);
  }
}

TEST_CASE("without guided steps a teacher changes no bit") {
  const TemporaryFolder folder;
  Teacher<WideVit> teacher;
  train<TinyVMoe>(images(), tiny_options(folder / "alone"));
  train<TinyVMoe>(images(), guided(folder / "none", teacher.model, GuidedSteps::none));
  for (const char* name : files) {
    INFO(name);
    CHECK(bytes_of(folder / "alone" / name) == bytes_of(folder / "none" / name));
  }
}

TEST_CASE("a run is resumed with its own teacher only") {
  const TemporaryFolder folder;
  Teacher<WideVit> teacher;
  TrainerOptions options = guided(folder / "run", teacher.model, GuidedSteps::all);
  CHECK_THROWS_AS(train<TinyVMoe>(images(), options, 7), Killed);
  Teacher<TinyVit> other;
  options.router.guidance.teacher = &other.model;
  options.router.guidance.weight = 4;
  const std::string message = error_of([&] { train<TinyVMoe>(images(), options); });
  INFO(message);
  CHECK(contains(message, "\n  teacher: the checkpoint has "));
  CHECK(contains(message, "\n  guidance: the checkpoint has 5, this run 4"));
}

TEST_CASE("teachers that do not go with the student are refused") {
  const TemporaryFolder folder;
  const auto refusal = [&]<class Student, class Net>(std::type_identity<Student>, Teacher<Net>& teacher,
                                                     double weight = 1) {
    TrainerOptions options = guided(folder / "run", teacher.model, GuidedSteps::all);
    options.router.guidance.weight = weight;
    return error_of([&] { train<Student>(images(), options); });
  };
  constexpr VitConfig deep{
      .image = 8, .patch = 4, .channels = 1, .dim = 8, .depth = 3, .heads = 2, .hidden = 16, .classes = 3};
  constexpr VitConfig fine{
      .image = 8, .patch = 2, .channels = 1, .dim = 8, .depth = 2, .heads = 2, .hidden = 16, .classes = 3};
  constexpr std::type_identity<TinyVMoe> student;
  Teacher<TinyVit> teacher;
  Teacher<Vit<deep>> deeper;
  Teacher<Vit<fine>> finer;
  CHECK(contains(refusal(student, deeper), "expected a teacher of 2 blocks as the student's, found 3"));
  CHECK(contains(refusal(student, finer), "the student's, 2 x 2 and a class token, found 4 x 4 and a class token"));
  CHECK(contains(refusal(student, teacher, -1), "expected weights from 0 up, found -1"));
  CHECK(contains(refusal(std::type_identity<TinyMobile>{}, teacher), "expected a V-MoE with top-k routers"));
  struct TinyEnsemble : VMoe<tiny, MoeConfig{.experts = 4, .placement = every(2), .members = 2}> {};
  CHECK(contains(refusal(std::type_identity<TinyEnsemble>{}, teacher), "and no ensemble"));
  CHECK(contains(refusal(std::type_identity<TinyVit>{}, teacher), "expected a V-MoE with top-k routers"));
  teacher.net.set_preprocessing({.height = 8, .width = 8, .channels = 1, .mean = {0.25f}});
  CHECK(contains(refusal(student, teacher), "the teacher takes images of other size or normalisation"));
  TrainerOptions options = tiny_options(folder / "run");
  options.router.guidance.steps = GuidedSteps::all;
  CHECK(contains(error_of([&] { train<TinyVMoe>(images(), options); }), "expected a teacher, found none"));
}
