// Images that are sent to given experts, and evaluations that look at the router.
#include "catch.hpp"
#include "io/temporary_folder.hpp"
#include "train/tiny_training.hpp"

#include <moevit/train/evaluation.hpp>

#include <array>
#include <numeric>

namespace moevit::test {

namespace {

constexpr std::array<std::int32_t, 3> super_classes{1, 0, 1};

std::vector<std::int32_t> as_vector() { return {super_classes.begin(), super_classes.end()}; }

Evaluation evaluate_all(const TinyMobile& net, const Dataset& images, const EvaluationRouting& routing) {
  std::vector<Index> numbers(static_cast<std::size_t>(images.size()));
  std::iota(numbers.begin(), numbers.end(), Index{0});
  Loader loader(images, numbers, net.preprocessing(),
                {.batch = 4, .order = BatchOrder::as_given, .last_batch = LastBatch::kept});
  Context context = net.context({.images = 4});
  return evaluate(net, loader, context, routing);
}

}  // namespace

TEST_CASE("Assigned experts take the place of the router's choice, with weight 1", "[train][mobile]") {
  TinyMobile net;
  initialise(net.parameters(), {.seed = 3, .zero_head = false});
  std::vector<float> images(2 * 64);
  RandomStream random(1);
  for (float& value : images) value = static_cast<float>(random.uniform(-1, 1));
  Context context = net.context({.images = 2});
  for (const std::array<std::int32_t, 2> assigned : {std::array{0, 1}, std::array{1, 1}, std::array{1, 0}}) {
    context.routing.assigned = assigned;
    std::vector<float> outputs(2 * 3);
    net.forward(images, outputs, context);
    const SparsePlan& plan = context.plan(1);
    for (const Choice& choice : plan.choices()) {
      CHECK(choice.expert == assigned[static_cast<std::size_t>(choice.token / TinyMobile::config.tokens())]);
      CHECK(choice.gate == 1.f);
    }
    CHECK(std::ssize(plan.choices()) == 2 * TinyMobile::config.tokens());
  }
}

TEST_CASE("Assigned experts that do not fit are refused", "[train][mobile]") {
  const TinyMobile net;
  std::vector<float> images(2 * 64), outputs(2 * 3);
  Context context = net.context({.images = 2, .selected = 2});
  const std::array<std::int32_t, 1> one{0};
  context.routing.assigned = one;
  CHECK_THROWS_WITH(net.forward(images, outputs, context),
                    "assigned experts: expected one for each of 2 images, found 1");
  const std::array<std::int32_t, 2> unknown{0, 2};
  context.routing.assigned = unknown;
  CHECK_THROWS_WITH(net.forward(images, outputs, context),
                    "assigned experts: image 1: expected an expert from 0 to 1, found 2");
  const std::array<std::int32_t, 2> good{0, 1};
  context.routing.assigned = good;
  context.routing.selected = 2;
  CHECK_THROWS_WITH(net.forward(images, outputs, context), "assigned experts: expected 1 selected expert, found 2");
}

TEST_CASE("Random experts depend on seed and image only, and are even", "[train][mobile]") {
  ImageExperts experts(ImageRouting::random, {}, 4, 7), same(ImageRouting::random, {}, 4, 7);
  std::vector<Index> numbers(4000);
  std::iota(numbers.begin(), numbers.end(), Index{0});
  std::vector<std::int32_t> found(4000);
  const auto assigned = experts.assign(numbers, ConstMatrixView(nullptr, 0, 0));
  std::copy(assigned.begin(), assigned.end(), found.begin());
  for (std::int32_t expert = 0; expert < 4; ++expert) {
    const auto count = std::count(found.begin(), found.end(), expert);
    CHECK(count > 850);
    CHECK(count < 1150);
  }
  const std::array<Index, 2> two{3999, 5};
  const auto again = same.assign(two, ConstMatrixView(nullptr, 0, 0));
  CHECK(again[0] == found[3999]);
  CHECK(again[1] == found[5]);
  CHECK(ImageExperts(ImageRouting::learned, {}, 4, 7).assign(two, ConstMatrixView(nullptr, 0, 0)).empty());
}

TEST_CASE("The true super-class of a mixed image is that of the heavier targets", "[train][mobile]") {
  ImageExperts experts(ImageRouting::super_class, as_vector(), 2, 1);
  const std::array<Index, 2> numbers{0, 1};
  const std::array targets{0.3f, 0.4f, 0.3f, 0.1f, 0.8f, 0.1f};
  const auto assigned = experts.assign(numbers, ConstMatrixView(targets.data(), 2, 3));
  CHECK(assigned[0] == 1);
  CHECK(assigned[1] == 0);
  CHECK_THROWS_WITH(ImageExperts(ImageRouting::super_class, {}, 2, 1),
                    "routing by super-class: expected a super-class for each class, found none");
}

TEST_CASE("An evaluation counts classes, confusions and the router's super-classes", "[train][mobile]") {
  const MemoryDataset images = striped_images(30);
  TinyMobile net;
  initialise(net.parameters(), {.seed = 5, .zero_head = false});
  const Evaluation found = evaluate_all(net, images, {.super_classes = as_vector()});
  CHECK(found.images == 30);
  CHECK(std::accumulate(found.confusion.begin(), found.confusion.end(), Index{0}) == 30);
  const Index correct = found.confusion[0] + found.confusion[4] + found.confusion[8];
  CHECK(found.accuracy == static_cast<double>(correct) / 30);

  Context context = net.context();
  Index routed = 0;
  std::vector<float> values(64), outputs(3);
  for (Index image = 0; image < images.size(); ++image) {
    images.read(image, net.preprocessing(), values);
    net.forward(values, outputs, context);
    const auto logits = context.routing_of(1).logits();
    routed += (logits(0, 1) > logits(0, 0) ? 1 : 0) == super_classes[static_cast<std::size_t>(images.label(image))];
  }
  CHECK(found.router_accuracy == static_cast<double>(routed) / 30);
  CHECK(evaluate_all(net, images, {}).router_accuracy == 0);
}

TEST_CASE("Training with given experts teaches them and leaves the router to its own loss", "[train][mobile]") {
  const MemoryDataset images = striped_images(60);
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options(folder / "run");
  options.steps = 60;
  options.mixup = 0, options.averaging.reset(), options.router.noise_std = 0;
  options.router.super_classes = as_vector();
  for (const ImageRouting routing : {ImageRouting::super_class, ImageRouting::random}) {
    options.router.routing = routing;
    options.folder = folder / std::to_string(static_cast<int>(routing));
    TinyMobile net;
    initialise(net.parameters(), {.seed = 1});
    Trainer trainer(net, {images, validation_split(images)}, options);
    const TrainingResult result = trainer.run();
    CHECK(result.step == options.steps);
    CHECK(result.best_accuracy > 0.5);
  }
  options.folder = folder / "vmoe";
  options.router.super_classes.clear();
  options.router.routing = ImageRouting::random;
  CHECK_THROWS_WITH((train<TinyVMoe>(images, options)),
                    "image routing: expected a Mobile V-MoE, whose router decides once per image");
}

}  // namespace moevit::test
