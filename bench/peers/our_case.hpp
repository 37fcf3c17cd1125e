/// One piece of work of ours that the server times: what it is made from and what the server needs to know of it.
#pragma once

#include "random_values.hpp"

#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace moevit::bench {

/// What the driver asks for.
struct Request {
  std::string name;
  std::string precision = "fp32";
  Index threads = 1;
  Index batch = 1;            ///< images; rows for the row kernels
  std::vector<float> inputs;  ///< all inputs, one after the other
};

/// What one run costs at least: arithmetic, and every byte that has to be read or written once.
struct Cost {
  double multiply_adds = 0.;
  double bytes = 0.;
};

struct OurCase {
  Index input_values = 0;   ///< floats of one input
  Index output_values = 0;  ///< floats of one output
  std::vector<Parameter> parameters;
  std::function<void(std::span<const float> input, std::span<float> output)> run;
  std::function<Cost()> cost;  ///< of the run before
};

/// Case families. Each returns whether it knows the request's name, and then sets `made`.
bool make_model(const Request& request, OurCase& made);
bool make_layer(const Request& request, OurCase& made);
bool make_kernel(const Request& request, OurCase& made);

/// One input of a request whose inputs have `values` floats each.
inline std::vector<std::span<const float>> split_inputs(const Request& request, Index values) {
  const auto size = static_cast<std::size_t>(values);
  if (request.inputs.empty() || request.inputs.size() % size != 0)
    fail(request.name, ": expected inputs of ", values, " floats each, found ", request.inputs.size(), " floats");
  std::vector<std::span<const float>> list;
  for (std::size_t first = 0; first < request.inputs.size(); first += size)
    list.push_back(std::span(request.inputs).subspan(first, size));
  return list;
}

/// Bytes of the parameters that are read: of experts only the share that is used.
inline double bytes_read(const std::vector<Parameter>& parameters, double share_of_experts) {
  double bytes = 0.;
  for (const Parameter& parameter : parameters)
    bytes += static_cast<double>(parameter.size()) * sizeof(float) *
             (parameter.role == Role::expert ? share_of_experts : 1.);
  return bytes;
}

[[noreturn]] inline void refuse_precision(const Request& request) {
  fail(request.name, ": there is no precision '", request.precision, "'");
}

}  // namespace moevit::bench
