/// What the study compares: one trained model per arm.
#pragma once

#include "mobile/models.hpp"

#include <moevit/train/evaluation.hpp>
#include <moevit/train/training_data.hpp>
#include <moevit/train/training_monitor.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace examples::mobile {

using moevit::Index;

/// Where an image's expert comes from.
enum class Arm {
  dense,        ///< no experts
  super_class,  ///< the router learns super-classes: Mobile V-MoE
  end_to_end,   ///< the router learns from the classifier's loss and a balancing loss
  random,       ///< every image has a random expert
  per_token,    ///< routers of patches learn as V-MoE's
  oracle        ///< every image goes to its true super-class
};
std::string name_of(Arm arm);

/// What has a model type of its own.
struct Shape {
  Arm arm = Arm::super_class;
  Index experts = 10;
  Index selected = 1;
  Index layers = 2;
};

/// One model to be trained.
struct ArmRequest {
  Shape shape;
  double lambda = 0.3;                      ///< weight of the super-class loss
  double balance = 0.01;                    ///< weight of the balancing losses where the router learns end to end
  std::vector<std::int32_t> super_classes;  ///< of each class; empty for the dense model
  std::filesystem::path start;              ///< weights of the dense model to begin with; empty: from scratch
  moevit::TrainerOptions training;          ///< folder, seed and everything but the router's part
};

/// The images of the study, at the size of its models.
struct StudyImages {
  const moevit::Dataset& training;
  moevit::DataSplit split;                ///< of the training images
  const moevit::Dataset* test = nullptr;  ///< looked at by the caller's decision only
};

/// What came out. Accuracies are those of the weights at the end.
struct ArmResult {
  moevit::Evaluation validation;
  double oracle_accuracy = 0;  ///< on validation images, each sent to its true super-class; 0 where that means nothing
  moevit::Evaluation test;     ///< of no images where it was not looked at
  double multiply_adds = 0;    ///< of one image
  Index parameters = 0;
  Index active_parameters = 0;
};

/// Trains one model, or goes on with it, and evaluates it. Throws Error as Trainer, and when no model of this shape is
/// compiled.
ArmResult train_arm(Images images, const ArmRequest& request, const StudyImages& data,
                    moevit::TrainingMonitor& monitor);

/// How a shape's model is trained.
using RunArm = ArmResult (*)(const ArmRequest&, const StudyImages&, moevit::TrainingMonitor&);

/// Arms whose models differ in their shape only.
enum class Family { dense, per_image, per_image_end_to_end, per_patch };
Family family_of(Arm arm);

/// A model type that is compiled.
struct CompiledArm {
  Family family = Family::dense;
  Index experts = 0, selected = 0, layers = 0;
  RunArm run = nullptr;
};
std::vector<CompiledArm> fashion_arms();
std::vector<CompiledArm> cifar_arms();
std::vector<CompiledArm> tiny_imagenet_arms();

}  // namespace examples::mobile
