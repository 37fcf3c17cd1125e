/// Models in the precisions of requests.
#pragma once

#include "our_case.hpp"

#include <moevit/models/packed.hpp>

namespace moevit::bench {

/// make(model) with the network itself or a packed form of it.
template <class Net, class Make>
OurCase in_precision(const std::shared_ptr<Net>& net, const Request& request, Make make) {
  if (request.precision == "fp32") return make(net);
  if (request.precision == "bf16") return make(std::make_shared<Packed<Net, Bf16>>(*net));
  if (request.precision == "bf16 weights") return make(std::make_shared<Packed<Net, Bf16Weights>>(*net));
  if (request.precision == "int8") return make(std::make_shared<Packed<Net, Int8>>(*net));
  refuse_precision(request);
}

}  // namespace moevit::bench
