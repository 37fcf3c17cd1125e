/// The pipeline of Mobile V-MoE (Daxberger et al. 2023): dense baseline, confusion on images held out, super-classes,
/// router with its loss, model.
#pragma once

#include "mobile/record.hpp"

#include <moevit/train/super_classes.hpp>

#include <memory>
#include <optional>
#include <string>

namespace examples::mobile {

struct StudyOptions {
  Images images = Images::fashion;
  std::string data;                 ///< folder of the data set
  std::filesystem::path output;     ///< where results.jsonl, settings.json and a folder per arm go
  double epochs = 30;               ///< from scratch
  double upcycled_epochs = 15;      ///< after the dense model's
  double upcycled_rate = 0.5;       ///< highest learning rate then, as a share of that from scratch
  double balance = 0.01;            ///< weight of balancing losses, see ArmRequest
  Index largest_super_class = 0;    ///< classes; 0: any number
  bool looks_at_test = false;       ///< evaluates every arm on the test images when it is trained
  moevit::TrainerOptions training;  ///< without steps, folder, seed and router
};

class Study {
 public:
  /// Opens the images. Throws Error when they do not fit, or when the output folder is that of other settings.
  explicit Study(StudyOptions options);

  /// Trains an arm, with the dense model that it needs first, unless it is there. Goes on where it was interrupted.
  Record run(const ArmSpec& spec, moevit::TrainingMonitor& monitor);
  const Records<Record>& records() const { return records_; }

  /// Writes the graph of confusions and its super-classes as a page (super_classes-eE.html) and as text; returns the
  /// page's path.
  std::filesystem::path write_super_classes(std::uint64_t seed, Index experts, moevit::TrainingMonitor& monitor);

  /// Where an arm is trained; weights.safetensors in it is the model.
  std::filesystem::path folder_of(const ArmSpec& spec) const;

 private:
  /// E super-classes from the confusions of a seed's dense model, which is trained when it is not there.
  moevit::SuperClasses super_classes(std::uint64_t seed, Index experts, moevit::TrainingMonitor& monitor);
  ArmRequest request_of(const ArmSpec& spec, moevit::TrainingMonitor& monitor);
  moevit::SuperClasses group(const moevit::ClassGraph& graph, Index experts) const;
  moevit::ClassGraph graph_of(std::uint64_t seed, moevit::TrainingMonitor& monitor);
  void ensure_dense_weights(std::uint64_t seed, moevit::TrainingMonitor& monitor);
  Record train(const ArmSpec& spec, const ArmRequest& request, moevit::TrainingMonitor& monitor);

  StudyOptions options_;
  std::unique_ptr<moevit::Dataset> training_, test_;
  moevit::DataSplit split_;
  Records<Record> records_;
};

}  // namespace examples::mobile
