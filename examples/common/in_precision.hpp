/// Models in a precision that is chosen when a program runs.
#pragma once

#include <moevit/io/packed_weights.hpp>
#include <moevit/io/weights.hpp>

#include <utility>
#include <variant>

namespace examples {

/// How weights are stored and multiplied, see moevit::pack.
enum class Precision { float32, bf16, int8 };

/// A model in one of these precisions.
template <class Net>
class InPrecision {
 public:
  /// Loads weights that are already read; not after pack(). Throws moevit::Error when they do not fit.
  void load(const moevit::TensorFile& file) { moevit::load(std::get<Net>(model_), file); }
  /// Stores the loaded weights in another precision, once.
  void pack(Precision precision) {
    if (precision == Precision::bf16) model_ = moevit::pack<moevit::Bf16>(std::get<Net>(std::move(model_)));
    if (precision == Precision::int8) model_ = moevit::pack<moevit::Int8>(std::get<Net>(std::move(model_)));
  }
  /// visitor(model), whichever type it has.
  template <class Visit>
  decltype(auto) visit(Visit visitor) const {
    return std::visit(visitor, model_);
  }

 private:
  std::variant<Net, moevit::Packed<Net, moevit::Bf16>, moevit::Packed<Net, moevit::Int8>> model_;
};

}  // namespace examples
