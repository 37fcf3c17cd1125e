/// The outputs of a golden case: compares them one by one and finds the ones that nothing was compared with.
#pragma once

#include "golden/manifest.hpp"

#include <exception>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace moevit::test {

/// Comparisons with the tensors below "outputs/". At the end finish() fails for every tensor that was left out.
class CaseOutputs {
 public:
  explicit CaseOutputs(const GoldenCase& golden) : golden_(golden) {}

  const GoldenCase& golden() const { return golden_; }
  bool has(const std::string& output) const { return golden_.has("outputs/" + output); }
  /// Marks an output as compared; false when the case has none of that name.
  bool take(const std::string& output) {
    if (has(output)) compared_.insert("outputs/" + output);
    return has(output);
  }

  /// Floats, by the rule of the READMEs. A case without this output is left alone.
  void close(const std::string& output, std::span<const float> got) {
    if (take(output)) expect_close(golden_, "outputs/" + output, got);
  }
  void close(const std::string& output, const MatrixView& got) {
    if (!take(output)) return;
    std::vector<float> values;
    for (Index row = 0; row < got.rows(); ++row)
      values.insert(values.end(), got.row_data(row), got.row_data(row) + got.cols());
    expect_close(golden_, "outputs/" + output, values);
  }
  void close(const std::string& output, double got) {
    const auto value = static_cast<float>(got);
    close(output, std::span<const float>(&value, 1));
  }
  /// Floats that went through bfloat16: values near the middle of two may round the other way.
  void close_bf16(const std::string& output, std::span<const float> got) {
    const std::string tensor = "outputs/" + output;
    if (!take(output)) return;
    const double largest = golden_.accuracy.contains(tensor) ? golden_.accuracy.at(tensor).max_abs : largest_of(tensor);
    expect_within(golden_, tensor, got, 1e-6 + largest / 256);
  }
  /// Either of the two.
  void close(const std::string& output, std::span<const float> got, bool bf16) {
    if (bf16)
      close_bf16(output, got);
    else
      close(output, got);
  }
  void close(const std::string& output, double got, bool bf16) {
    const auto value = static_cast<float>(got);
    close(output, std::span<const float>(&value, 1), bf16);
  }
  /// Integers, exactly.
  template <class Integer>
  void equal(const std::string& output, const std::vector<Integer>& got) {
    if (take(output)) expect_equal(golden_, "outputs/" + output, got);
  }

  /// Fails for outputs that nothing was compared with.
  void finish() const {
    for (const StoredTensor& tensor : golden_.tensors.tensors()) {
      if (!tensor.name.starts_with("outputs/") || compared_.contains(tensor.name)) continue;
      INFO(golden_.name << ": " << tensor.name << " was compared with nothing");
      CHECK(false);
    }
  }

 private:
  double largest_of(const std::string& tensor) const {
    double largest = 0;
    for (const float value : golden_.floats(tensor)) largest = std::max(largest, std::abs(double{value}));
    return largest;
  }

  const GoldenCase& golden_;
  std::set<std::string> compared_;
};

/// Runs one test function over all cases of a kind.
inline void run_kind(const std::string& kind, void (*run)(const GoldenCase&)) {
  std::size_t count = 0;
  for (const GoldenCase& golden : cases_of(kind)) {
    INFO(golden.directory.string() << ": " << golden.name);
    try {
      run(golden);
      ++count;
    } catch (const std::exception& error) {  // the other cases are run all the same
      FAIL_CHECK(error.what());
    }
  }
  expect_all_run(kind, count);
}

/// Sum of products, for losses.
inline double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

/// Mean over rows of the softmax cross-entropy of row-major logits. `labels` may be fewer than rows: then each label
/// stands for equally many rows that follow each other, as the members of an ensemble do.
inline double cross_entropy(std::span<const float> logits, const std::vector<std::int32_t>& labels, std::size_t rows) {
  const std::size_t classes = logits.size() / rows;
  double sum = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    const auto values = logits.subspan(row * classes, classes);
    const double top = *std::max_element(values.begin(), values.end());
    double exponentials = 0;
    for (const float value : values) exponentials += std::exp(double{value} - top);
    const auto label = static_cast<std::size_t>(labels[row * labels.size() / rows]);
    sum += top + std::log(exponentials) - double{values[label]};
  }
  return sum / static_cast<double>(rows);
}

}  // namespace moevit::test
