/// Results of trained arms, a line of JSON each.
#pragma once

#include "mobile/arms.hpp"

#include <filesystem>
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
  std::vector<std::int32_t> super_classes;  ///< of each class; empty for the dense model
  std::vector<Index> confusion;             ///< of the validation images, where it is needed again: classes x classes
};

/// Records in a file, to which each is appended when it is there.
class Records {
 public:
  /// Reads what is there already. Throws Error naming file and line when it is something else.
  explicit Records(std::filesystem::path file);

  /// nullptr: not there yet.
  const Record* find(const std::string& label, std::uint64_t seed) const;
  /// Throws Error when it cannot be written.
  void add(Record record);
  const std::vector<Record>& all() const { return records_; }

 private:
  std::filesystem::path file_;
  std::vector<Record> records_;
};

}  // namespace examples::mobile
