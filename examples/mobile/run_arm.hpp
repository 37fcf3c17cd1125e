/// Training and evaluation of one arm's model type; included by the files that compile them.
#pragma once

#include "mobile/arms.hpp"

#include <moevit/io/weights.hpp>
#include <moevit/models/counts.hpp>
#include <moevit/train/initialise.hpp>
#include <moevit/train/trainer.hpp>
#include <moevit/train/upcycling.hpp>

#include <type_traits>

namespace examples::mobile {

/// What the arm's router does and learns from.
moevit::RouterTraining router_training(const ArmRequest& request);

/// Weights to begin with.
template <Images images, class Net>
void start(const ArmRequest& request, Net& net) {
  moevit::initialise(net.parameters(), {.seed = request.training.seed});
  if (request.start.empty()) return;
  DenseVit<images> dense;
  moevit::load(dense, request.start);
  if constexpr (std::is_same_v<Net, DenseVit<images>>)
    net = dense;
  else
    moevit::upcycle(dense, net);
}

template <class Net>
moevit::Evaluation evaluate_split(const Net& net, const moevit::Dataset& dataset, std::vector<Index> numbers,
                                  const moevit::EvaluationRouting& routing) {
  moevit::Context context = net.context({.images = 64});
  moevit::Loader loader(dataset, std::move(numbers), net.preprocessing(),
                        {.batch = 64, .order = moevit::BatchOrder::as_given, .last_batch = moevit::LastBatch::kept});
  return moevit::evaluate(net, loader, context, routing);
}

template <Images images, class Net>
ArmResult run_arm(const ArmRequest& request, const StudyImages& data, moevit::TrainingMonitor& monitor) {
  Net net;
  start<images>(request, net);
  moevit::TrainerOptions options = request.training;
  options.router = router_training(request);
  options.notes = {{"arm", name_of(request.shape.arm)}, {"start", request.start.empty() ? "scratch" : "dense"}};
  moevit::Trainer trainer(net, {data.training, data.split}, options);
  trainer.run(monitor);

  ArmResult result;
  result.multiply_adds = moevit::multiply_adds(net.description());
  result.parameters = moevit::parameter_count(net.description());
  result.active_parameters = moevit::active_parameters(net.description());
  const bool is_per_image = net.description().family == moevit::ModelFamily::mobile_vmoe;
  moevit::EvaluationRouting routing{options.router.routing, {}, options.seed};
  if (is_per_image) routing.super_classes = request.super_classes;
  result.validation = evaluate_split(net, data.training, data.split.validation, routing);
  if (data.test)
    result.test = evaluate_split(net, *data.test, moevit::validation_split(*data.test, 0).training, routing);
  routing.routing = moevit::ImageRouting::super_class;
  if (is_per_image && Net::moe.selected == 1)
    result.oracle_accuracy = evaluate_split(net, data.training, data.split.validation, routing).accuracy;
  return result;
}

template <Images images, Index experts, Index selected, Index layers>
CompiledArm per_image_arm() {
  using Net = PerImageMoe<images, experts, selected, layers, Combine::renormalised>;
  return {Family::per_image, experts, selected, layers, run_arm<images, Net>};
}

/// What the comparison of routings needs.
template <Images images>
std::vector<CompiledArm> routing_arms() {
  constexpr Index experts = usual_experts(images);
  return {{.family = Family::dense, .run = run_arm<images, DenseVit<images>>},
          per_image_arm<images, experts, 1, 2>(),
          {Family::per_image_end_to_end, experts, 1, 2,
           run_arm<images, PerImageMoe<images, experts, 1, 2, Combine::gates>>},
          {Family::per_patch, experts, 1, 2, run_arm<images, PerPatchMoe<images, experts, 1, 2>>}};
}

#ifdef MOEVIT_ABLATION_MODELS
inline constexpr bool has_ablation_models = true;
#else
inline constexpr bool has_ablation_models = false;
#endif

/// The other layers and k of the paper's ablations, and these numbers of experts.
template <Images images, Index... experts>
void add_ablation_arms(std::vector<CompiledArm>& arms) {
  constexpr Index usual = usual_experts(images);
  (arms.push_back(per_image_arm<images, experts, 1, 2>()), ...);
  arms.push_back(per_image_arm<images, usual, 1, 1>());
  arms.push_back(per_image_arm<images, usual, 1, 3>());
  arms.push_back(per_image_arm<images, usual, 2, 2>());
}

/// All arms of a data set that this build has models for; experts: see add_ablation_arms.
template <Images images, Index... experts>
std::vector<CompiledArm> arms_for() {
  std::vector<CompiledArm> arms;
  if constexpr (is_compiled(images)) {
    arms = routing_arms<images>();
    if constexpr (has_ablation_models) add_ablation_arms<images, experts...>(arms);
  }
  return arms;
}

}  // namespace examples::mobile
