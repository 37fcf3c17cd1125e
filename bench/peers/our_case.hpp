/// One piece of work of ours that the server times: what it is made from and what the server needs to know of it.
#pragma once

#include "sparse_layer.hpp"

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

struct OurCase {
  Index input_values = 0;   ///< floats of one input
  Index output_values = 0;  ///< floats of one output
  std::vector<Parameter> parameters;
  std::vector<Parameter> gradients = {};  ///< of a training step, under the names of the parameters; else none
  std::function<void(std::span<const float> input, std::span<float> output)> run = {};
  std::function<Cost()> cost = {};  ///< of the run before
};

/// Case families. Each returns whether it knows the request's name, and then sets `made`.
bool make_model(const Request& request, OurCase& made);
bool make_training(const Request& request, OurCase& made);
bool make_layer(const Request& request, OurCase& made);
bool make_hierarchical(const Request& request, OurCase& made);
bool make_maps(const Request& request, OurCase& made);
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

[[noreturn]] inline void refuse_precision(const Request& request) {
  fail(request.name, ": there is no precision '", request.precision, "'");
}

}  // namespace moevit::bench
