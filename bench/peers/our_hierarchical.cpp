/// Hierarchical models of ours, window attention, and heads of dense tasks.
#include "hierarchical/network.hpp"
#include "our_case.hpp"

namespace moevit::bench {
namespace {

OurCase case_of(Network network) {
  const double moved = bytes_read(network.parameters, 1.) +
                       static_cast<double>(network.input_values + network.output_values) * sizeof(float);
  return {network.input_values,          network.output_values,
          std::move(network.parameters), {},
          std::move(network.run),        [cost = Cost{network.multiply_adds, moved}] { return cost; }};
}

}  // namespace

bool make_hierarchical(const Request& request, OurCase& made) {
  const RunSize size{.images = request.batch, .threads = request.threads};
  if (request.name == "swin_tiny") return made = case_of(swin_tiny(request.precision, size)), true;
  if (request.name == "cvt_13") return made = case_of(cvt_13(request.precision, size)), true;
  Network (*make)(RunSize) = nullptr;
  if (request.name == "window_attention") make = [](RunSize own) { return window_attention(0, 1, own); };
  if (request.name == "upernet_head") make = upernet_head;
  if (request.name == "fcos_head") make = fcos_head;
  if (!make) return false;
  if (request.precision != "fp32") refuse_precision(request);
  made = case_of(make(size));
  return true;
}

}  // namespace moevit::bench
