/// What was found out about the model of a weights file.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/error.hpp>
#include <moevit/io/config_fields.hpp>
#include <moevit/io/naming/ours.hpp>

#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// What a file says about its model, and what had to be assumed because no file of that naming says it.
struct InferredModel {
  ModelDescription description;
  std::string naming;
  std::vector<std::string> assumptions;  // sentences; empty for files of ours
};

namespace detail {

/// What reading a description off names and shapes takes, whatever the model. `named` must outlive it.
class Inference {
 public:
  Inference(std::string file, const NamedTensors& named)
      : file_(std::move(file)), named_(named), shapes_(named), result_{{}, std::string(named.table->name), {}} {}

 protected:
  [[noreturn]] void unknown(const std::string& what) const {
    fail(file_, " (naming ", result_.naming, "): cannot tell the model: ", what);
  }
  void assume(std::string sentence) { result_.assumptions.push_back(std::move(sentence)); }
  void assume_usual(const std::string& whose, Activation activation, float epsilon) {
    assume("Activation and epsilon of the layer norms are not stored: taken as usual for " + whose + ", " +
           std::string(enum_name(activation)) + " and " + cpp_text(epsilon) + ".");
  }

  std::string file_;
  const NamedTensors& named_;
  OurShapes shapes_;
  InferredModel result_;
};

}  // namespace detail
}  // namespace moevit
