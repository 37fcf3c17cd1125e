#include "mobile/record.hpp"

#include <sstream>

namespace examples::mobile {

namespace {

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

}  // namespace examples::mobile
