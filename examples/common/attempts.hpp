/// Finds the type among many that fits a weights file.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/tensor_file.hpp>

#include <memory>
#include <string>
#include <utility>

namespace examples {

/// Tries one type after the other until the file fits one.
template <class Kind>
class Attempts {
 public:
  explicit Attempts(const moevit::TensorFile& file) : file_(file) {}

  template <class Holder>
  void try_type() {
    if (found_) return;
    auto model = std::make_unique<Holder>();
    try {
      model->load(file_);
      found_ = std::move(model);
    } catch (const moevit::Error& error) {
      reasons_ += std::string("\n") + error.what();
    }
  }

  /// Null when none fits.
  std::unique_ptr<Kind> take() { return std::move(found_); }
  /// Why each did not fit, a paragraph each.
  const std::string& reasons() const { return reasons_; }

 private:
  const moevit::TensorFile& file_;
  std::unique_ptr<Kind> found_;
  std::string reasons_;
};

}  // namespace examples
