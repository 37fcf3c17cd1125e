/// Results of trained arms, a line of JSON each.
#pragma once

#include "common/records.hpp"
#include "mobile/arms.hpp"

#include <string>
#include <vector>

namespace examples::mobile {

/// One arm of one seed.
struct ArmSpec {
  Shape shape;
  double lambda = 0.3;
  bool is_upcycled = false;  ///< begins with the weights of the seed's dense model
  std::uint64_t seed = 1;

  /// Arm and shape without the seed, as folders and tables call it.
  std::string label() const;
};

/// What is remembered of a trained arm.
struct Record {
  std::string label;
  std::uint64_t seed = 0;
  double validation_accuracy = 0;
  double validation_loss = 0;
  double router_accuracy = 0;
  double oracle_accuracy = 0;
  double test_accuracy = -1;  ///< -1: not looked at
  double test_router_accuracy = 0;
  double multiply_adds = 0;
  Index parameters = 0;
  Index active_parameters = 0;
  std::vector<std::int32_t> super_classes = {};  ///< of each class; empty for the dense model
  std::vector<Index> confusion = {};  ///< of the validation images, where it is needed again: classes x classes
};

/// visit(name, field) for every field.
void each_field(auto& record, auto visit) {
  visit("arm", record.label);
  visit("seed", record.seed);
  visit("validation_accuracy", record.validation_accuracy);
  visit("validation_loss", record.validation_loss);
  visit("router_accuracy", record.router_accuracy);
  visit("oracle_accuracy", record.oracle_accuracy);
  visit("test_accuracy", record.test_accuracy);
  visit("test_router_accuracy", record.test_router_accuracy);
  visit("multiply_adds", record.multiply_adds);
  visit("parameters", record.parameters);
  visit("active_parameters", record.active_parameters);
  visit("super_classes", record.super_classes);
  visit("confusion", record.confusion);
}
inline bool is_same_run(const Record& one, const Record& other) {
  return one.label == other.label && one.seed == other.seed;
}

}  // namespace examples::mobile
