/// The counted parameters of a description against those of its model.
#pragma once

#include "catch.hpp"

#include <moevit/models/presets.hpp>

namespace moevit::test {

/// Running statistics are no parameters.
template <ModelDescription description>
void expect_counts_of_model() {
  const Model<description> model;
  Index total = 0;
  for (const ConstParameter& parameter : model.parameters())
    if (parameter.role != Role::statistics) total += parameter.size();
  CHECK(total == parameter_count(description));
  CHECK(model.description() == description);
}

}  // namespace moevit::test
