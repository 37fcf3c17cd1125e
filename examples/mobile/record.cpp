#include "mobile/record.hpp"

#include "common/json_records.hpp"

#include <sstream>
#include <utility>

namespace examples::mobile {

namespace {

constexpr auto each_field = [](auto& record, auto visit) {
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
};

std::string short_number(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

}  // namespace

std::string ArmSpec::label() const {
  std::string text = name_of(shape.arm);
  if (shape.arm != Arm::dense)
    text += "-e" + std::to_string(shape.experts) + "-k" + std::to_string(shape.selected) + "-l" +
            std::to_string(shape.layers);
  if (shape.arm == Arm::super_class && lambda != 0.3) text += "-lambda" + short_number(lambda);
  return text + (is_upcycled ? "-upcycled" : "");
}

Records::Records(std::filesystem::path file)
    : file_(std::move(file)), records_(read_records<Record>(file_, each_field)) {}

const Record* Records::find(const std::string& label, std::uint64_t seed) const {
  for (const Record& record : records_)
    if (record.label == label && record.seed == seed) return &record;
  return nullptr;
}

void Records::add(Record record) {
  append_record(file_, record, each_field);
  records_.push_back(std::move(record));
}

}  // namespace examples::mobile
