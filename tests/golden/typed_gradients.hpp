/// Compares gradients of typed models and layers with the tensors below "grads/".
#pragma once

#include "golden/typed_cases.hpp"

#include <moevit/moe/loss_gradients.hpp>
#include <moevit/train/classification_losses.hpp>

#include <deque>
#include <map>

namespace moevit::test {

/// Whether a case has gradients to be compared with.
inline bool has_gradients(const GoldenCase& golden) {
  for (const StoredTensor& tensor : golden.tensors.tensors())
    if (tensor.name.starts_with("grads/")) return true;
  return false;
}

/// The gradients of parameters and, in the same shapes, how far from them a result may be, under the names that
/// `rename` gives to parameters: files that the loader reads as if they were weights.
class GradientFiles {
 public:
  GradientFiles(const GoldenCase& golden, const std::function<std::string(const std::string&)>& rename, bool bf16) {
    const std::string prefix = "grads/params/";
    std::vector<StoredTensor> wanted, tolerated;
    for (StoredTensor tensor : golden.tensors.tensors()) {
      if (!tensor.name.starts_with(prefix)) continue;
      const double tolerance = tolerance_for(golden, tensor.name, bf16);
      values_.emplace_back(static_cast<std::size_t>(tensor.size()), static_cast<float>(tolerance));
      tensor.name = rename(tensor.name.substr(prefix.size()));
      wanted.push_back(tensor);
      tensor.type = "F32";
      tensor.bytes = std::as_bytes(std::span(values_.back()));
      tolerated.push_back(tensor);
    }
    const std::filesystem::path path = golden.directory / golden.file;
    gradients = TensorFile(path, nullptr, std::move(wanted));
    tolerances = TensorFile(path, nullptr, std::move(tolerated));
  }

  TensorFile gradients, tolerances;

 private:
  static double tolerance_for(const GoldenCase& golden, const std::string& tensor, bool bf16) {
    const std::vector<float> want = golden.floats(tensor);
    if (!bf16) return tolerance_of(golden, tensor, want);
    double largest = 0.;
    for (const float value : want) largest = std::max(largest, std::abs(double{value}));
    return 1e-6 + largest / 256;
  }

  std::deque<std::vector<float>> values_;
};

/// Compares parameters of three objects of one type: gradients found, gradients wanted, tolerances.
inline void compare_gradients(const GoldenCase& golden, const std::vector<Parameter>& found,
                              const std::vector<Parameter>& wanted, const std::vector<Parameter>& tolerances) {
  REQUIRE(found.size() == wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::vector<float> got = found[i].values(), want = wanted[i].values(), tolerance = tolerances[i].values();
    double worst = 0.;
    std::size_t place = 0;
    for (std::size_t k = 0; k < got.size(); ++k) {
      const double difference = std::abs(double{got[k]} - double{want[k]});
      const double ratio = std::isfinite(difference) ? difference / double{tolerance[k]} : INFINITY;
      if (ratio > worst) worst = ratio, place = k;
    }
    INFO(golden.name << ": gradient of " << found[i].name << ", element " << place << ": found "
                     << (got.empty() ? 0.f : got[place]) << ", expected " << (want.empty() ? 0.f : want[place]));
    CHECK(worst <= 1.);
    double& largest = largest_ratios()[golden.kind + " gradients"];
    largest = std::max(largest, worst);
  }
}

/// A gradient to an input of the case.
inline void compare_input_gradient(const GoldenCase& golden, const std::string& input, std::span<const float> found,
                                   bool bf16) {
  const std::string tensor = "grads/inputs/" + input;
  if (!golden.has(tensor)) return;
  const std::vector<float> want = golden.floats(tensor);
  double largest = 0.;
  for (const float value : want) largest = std::max(largest, std::abs(double{value}));
  expect_within(golden, tensor, found, bf16 ? 1e-6 + largest / 256 : tolerance_of(golden, tensor, want));
}

/// Compares the gradients of a layer's parameters and of its x; the arguments are those of run_layer.
inline void compare_layer_gradients(const GoldenCase& golden, const AnyLayer& layer, const RoutingOptions& options,
                                    Index copies, const std::function<std::string(const std::string&)>& rename,
                                    Naming naming, const AddBlockLosses& add_losses) {
  if (!has_gradients(golden)) return;
  const GradientFiles files(golden, rename, options.bf16_dispatch);
  const auto wanted = TypeRegistry<AnyLayer>::instance().make(key_of(golden)),
             tolerances = TypeRegistry<AnyLayer>::instance().make(key_of(golden));
  load_layer(*wanted, files.gradients, naming);
  load_layer(*tolerances, files.tolerances, naming);
  const Shape& shape = golden.shape("inputs/x");
  const std::vector<float> x = golden.floats("inputs/x"), cotangent = golden.floats("inputs/cotangent");
  const Index width = shape.back(), tokens = shape[shape.size() - 2], rows = std::ssize(x) / width;
  std::vector<float> d_x(x.size());
  const auto found = layer.gradients({ConstMatrixView(x.data(), rows, width), rows / tokens / copies, tokens, options},
                                     {cotangent.data(), rows, width}, add_losses, {d_x.data(), rows, width});
  compare_gradients(golden, found->parameters(), wanted->parameters(), tolerances->parameters());
  compare_input_gradient(golden, "x", d_x, options.bf16_dispatch);
}

/// The gradient of the auxiliary losses of every group and member, each with `weight`; expert choice has none.
inline void add_losses_of_groups(const RoutedBatch& batch, double weight, MatrixView d_logits) {
  if (batch.settings.expert_choice) return;
  const bool has_noise = batch.routing.noisy_logits().rows() > 0;
  const Index own = batch.own_experts();
  for (Index group = 0; group < batch.groups(); ++group)
    for (Index member = 0; member < batch.settings.members; ++member) {
      const RowMajorMatrix logits = member_rows(batch, batch.routing.logits(), group, member);
      const RowMajorMatrix noisy = has_noise ? member_rows(batch, batch.routing.noisy_logits(), group, member) : logits;
      RowMajorMatrix d = RowMajorMatrix::Zero(logits.rows(), logits.cols());
      add_auxiliary_gradient(view_of(logits), has_noise ? view_of(noisy) : ConstMatrixView(nullptr, 0, logits.cols()),
                             batch.settings.options.selected, batch.settings.options.noise_std, batch.settings.weights,
                             weight, {d.data(), d.rows(), d.cols()});
      for (Index row = 0; row < d.rows(); ++row) {
        const Index position = group * batch.group + row * batch.settings.members + member;
        float* target = d_logits.row_data(batch.order.row(position)) + member * own;
        for (Index i = 0; i < own; ++i) target[i] += d(row, i);
      }
    }
}

}  // namespace moevit::test
