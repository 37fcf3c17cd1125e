#include "mobile/study.hpp"

#include "common/settings.hpp"

#include <moevit/io/atomic_file.hpp>
#include <moevit/io/cpp_type.hpp>
#include <moevit/io/dataset.hpp>
#include <moevit/io/datasets/memory.hpp>
#include <moevit/io/report/page.hpp>
#include <moevit/io/report/super_class_chart.hpp>

#include <cmath>
#include <utility>

namespace examples::mobile {

namespace {

struct Splits {
  const char* training;
  const char* test;
};

Splits splits_of(Images images) {
  switch (images) {
    case Images::fashion:
      return {"train", "t10k"};
    case Images::cifar:
      return {"train", "test"};
    case Images::tiny_imagenet:
      return {"train", "val"};
  }
  return {};
}

/// All images of a split at the models' size.
std::unique_ptr<moevit::Dataset> open_split(const StudyOptions& options, const char* split) {
  const auto files = moevit::open_dataset(options.data, {.split = split, .limits = {}});
  moevit::ThreadPool pool(options.training.threads);
  return std::make_unique<moevit::MemoryDataset>(*files, preprocessing_of(options.images), moevit::ExecutorRef(pool));
}

/// What results depend on, by name.
moevit::Fingerprint settings_of(const StudyOptions& options) {
  moevit::TrainerOptions training = options.training;
  training.seed = 0;
  moevit::Fingerprint settings = moevit::fingerprint(training);
  for (const char* decided_per_arm : {"steps", "schedule steps", "warm-up", "seed", "importance loss", "load loss",
                                      "router noise", "super-classes", "super-class loss", "image routing"})
    settings.erase(decided_per_arm);
  settings["dense model"] = moevit::cpp_config(shape_of(options.images));
  settings["epochs"] = std::to_string(options.epochs);
  settings["epochs, upcycled"] = std::to_string(options.upcycled_epochs);
  settings["learning rate, upcycled"] = std::to_string(options.upcycled_rate);
  settings["warm-up"] = "5 % of the steps";
  settings["balancing losses"] = std::to_string(options.balance);
  settings["largest super-class"] = std::to_string(options.largest_super_class);
  return settings;
}

std::vector<std::int32_t> groups_of(const moevit::SuperClasses& super_classes) {
  return {super_classes.groups.begin(), super_classes.groups.end()};
}

std::string text_of(const moevit::SuperClasses& super_classes, const std::vector<std::string>& names) {
  std::string text = std::string("modularity ").append(std::to_string(super_classes.modularity)).append("\n");
  Index number = 0;
  for (const std::vector<Index>& members : super_classes.members()) {
    text.append(std::to_string(number++)).append(":");
    for (const Index label : members)
      text.append(" ").append(names.empty() ? std::to_string(label) : names[static_cast<std::size_t>(label)]);
    text.append("\n");
  }
  return text;
}


}  // namespace

Study::Study(StudyOptions options) : options_(std::move(options)), records_(options_.output / "results.jsonl") {
  std::filesystem::create_directories(options_.output);
  require_settings(options_.output / "settings.json", settings_of(options_));
  training_ = open_split(options_, splits_of(options_.images).training);
  split_ = moevit::validation_split(*training_);
  if (options_.looks_at_test) test_ = open_split(options_, splits_of(options_.images).test);
}

std::filesystem::path Study::folder_of(const ArmSpec& spec) const {
  return options_.output / seed_folder(spec.seed) / spec.label();
}

moevit::ClassGraph Study::graph_of(std::uint64_t seed, moevit::TrainingMonitor& monitor) {
  const Record dense = run({.shape = {.arm = Arm::dense}, .seed = seed}, monitor);
  const auto classes = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(dense.confusion.size()))));
  return moevit::class_graph(dense.confusion, classes);
}

moevit::SuperClasses Study::super_classes(std::uint64_t seed, Index experts, moevit::TrainingMonitor& monitor) {
  return group(graph_of(seed, monitor), experts);
}

moevit::SuperClasses Study::group(const moevit::ClassGraph& graph, Index experts) const {
  return moevit::find_super_classes(graph, experts, {.max_classes = options_.largest_super_class});
}

std::filesystem::path Study::write_super_classes(std::uint64_t seed, Index experts, moevit::TrainingMonitor& monitor) {
  const moevit::ClassGraph graph = graph_of(seed, monitor);
  const moevit::SuperClasses found = group(graph, experts);
  moevit::report::Page page("Super-classes");
  page.section("super-classes", "Super-classes",
               "Classes that the dense model takes for each other on images held out, and the groups that they make: "
               "one for each expert.");
  page.open_cards();
  page.card("Confusions", moevit::report::super_class_chart(graph, found, training_->class_names()),
            "Lines join classes that were confused, the stronger the more often.");
  page.close_cards();
  const std::string name = std::string("super_classes-e").append(std::to_string(experts)).append(".html");
  const auto path = options_.output / seed_folder(seed) / name;
  moevit::write_file(path, std::move(page).finish());
  moevit::write_file(std::filesystem::path(path).replace_extension(".txt"), text_of(found, training_->class_names()));
  return path;
}

ArmRequest Study::request_of(const ArmSpec& spec, moevit::TrainingMonitor& monitor) {
  ArmRequest request;
  request.shape = spec.shape, request.lambda = spec.lambda, request.balance = options_.balance;
  if (spec.shape.arm != Arm::dense)
    request.super_classes = groups_of(super_classes(spec.seed, spec.shape.experts, monitor));
  if (spec.is_upcycled) {
    ensure_dense_weights(spec.seed, monitor);
    request.start = folder_of({.shape = {.arm = Arm::dense}, .seed = spec.seed}) / "weights.safetensors";
  }
  request.training = options_.training;
  request.training.folder = folder_of(spec);
  request.training.seed = spec.seed;
  const double epochs = spec.is_upcycled ? options_.upcycled_epochs : options_.epochs;
  const auto per_epoch = static_cast<double>(std::ssize(split_.training) / options_.training.loader.batch);
  request.training.steps = std::max<Index>(1, static_cast<Index>(std::lround(epochs * per_epoch)));
  request.training.schedule.warmup = request.training.steps / 20;
  if (spec.is_upcycled) request.training.schedule.peak *= options_.upcycled_rate;
  return request;
}

/// The record may be there from another machine, without the weights.
void Study::ensure_dense_weights(std::uint64_t seed, moevit::TrainingMonitor& monitor) {
  const ArmSpec dense{.shape = {.arm = Arm::dense}, .seed = seed};
  if (!std::filesystem::exists(folder_of(dense) / "weights.safetensors"))
    train_arm(options_.images, request_of(dense, monitor), {*training_, split_}, monitor);
}

Record Study::train(const ArmSpec& spec, const ArmRequest& request, moevit::TrainingMonitor& monitor) {
  const ArmResult result = train_arm(options_.images, request, {*training_, split_, test_.get()}, monitor);
  Record record;
  record.label = spec.label(), record.seed = spec.seed;
  record.validation_accuracy = result.validation.accuracy;
  record.validation_loss = result.validation.loss;
  record.router_accuracy = result.validation.router_accuracy;
  record.oracle_accuracy = result.oracle_accuracy;
  if (test_) record.test_accuracy = result.test.accuracy, record.test_router_accuracy = result.test.router_accuracy;
  record.multiply_adds = result.multiply_adds;
  record.parameters = result.parameters;
  record.active_parameters = result.active_parameters;
  record.super_classes = request.super_classes;
  if (spec.shape.arm == Arm::dense) record.confusion = result.validation.confusion;
  return record;
}

Record Study::run(const ArmSpec& spec, moevit::TrainingMonitor& monitor) {
  const Record own{.label = spec.label(), .seed = spec.seed};
  if (!records_.find(own)) records_.add(train(spec, request_of(spec, monitor), monitor));
  return *records_.find(own);
}

}  // namespace examples::mobile
