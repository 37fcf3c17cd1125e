/// The weights of one product, in panels, in one of several storages.
#pragma once

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/core/error.hpp>
#include <moevit/simd/choose_kernel.hpp>
#include <moevit/simd/pack_reduced.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace moevit {

/// How a matrix of weights is kept, and what it is multiplied in.
enum class Storage : unsigned char {
  float32,
  bfloat16,          ///< multiplied in bfloat16 with float32 sums where the machine has it, else in float32
  bfloat16_weights,  ///< multiplied in float32
  int8               ///< one scale per column; rows of x are quantised one by one as they come
};

/// The format of the elements that a storage keeps.
constexpr simd::WeightFormat weight_format(Storage storage) {
  return storage == Storage::float32 ? simd::WeightFormat::float32
         : storage == Storage::int8  ? simd::WeightFormat::int8
                                     : simd::WeightFormat::bfloat16;
}

/// A rows x cols matrix in panels (simd/packed.hpp): owned, or somewhere in a mapped file. Begins as zeros in float32,
/// the only storage whose elements can be changed.
class WeightMatrix {
 public:
  /// Panels that somebody else keeps: units of the storage's format, and for int8 scales and offsets of the columns.
  struct Mapped {
    std::shared_ptr<const void> owner;
    const std::byte* units = nullptr;  ///< on a cache line
    const float* scales = nullptr;
    const std::int32_t* offsets = nullptr;
  };

  WeightMatrix(Index rows, Index cols) : rows_(rows), cols_(cols), units_(simd::packed_size(rows, cols) * 4) {}

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Storage storage() const { return storage_; }
  /// Columns, those included that fill the last panel.
  Index padded_cols() const { return round_up(cols_, simd::panel_width(cols_)); }
  /// Bytes of the panels.
  Index bytes() const { return simd::packed_size(rows_, cols_, weight_format(storage_)) * 4; }

  simd::PackedView view() const {
    const bool is_mapped = mapped_.units != nullptr;
    return {.data = is_mapped ? mapped_.units : units_.data(),
            .rows = rows_,
            .cols = cols_,
            .panel = simd::panel_width(cols_),
            .format = weight_format(storage_),
            .kernel = kernel_,
            .scales = is_mapped ? mapped_.scales : scales_.data(),
            .offsets = is_mapped ? mapped_.offsets : offsets_.data()};
  }

  /// What to multiply with where both operands are made on the way, as in attention: bfloat16 where this storage is
  /// multiplied in less than float32 and the machine has bfloat16 arithmetic, else null, for float32.
  const simd::TileKernel* operand_kernel() const { return operand_kernel_; }

  /// The elements of float32 panels that this object owns; null otherwise.
  float* floats() { return is_trainable() ? reinterpret_cast<float*>(units_.data()) : nullptr; }
  const float* floats() const { return is_trainable() ? reinterpret_cast<const float*>(units_.data()) : nullptr; }

  /// Packs the elements anew. Throws Error unless they are float32.
  void convert(Storage storage) {
    if (storage_ != Storage::float32) fail("weights: expected float32 to be packed anew, found another storage");
    if (storage == Storage::float32) return;
    const simd::PackedView floats = view();
    choose(storage);
    AlignedBuffer<std::byte> units(bytes());
    const auto target = reinterpret_cast<std::uint32_t*>(units.data());
    if (storage == Storage::int8) {
      scales_ = AlignedBuffer<float>(padded_cols());
      offsets_ = AlignedBuffer<std::int32_t>(padded_cols());
      simd::pack_int8(floats, *kernel_, {target, scales_.data(), offsets_.data()});
    } else {
      simd::pack_bf16(floats, *kernel_, target);
    }
    units_ = std::move(units);
    mapped_ = {};
  }

  /// Uses panels of somebody else from now on, instead of its own.
  void map(Storage storage, Mapped mapped) {
    if (!mapped.units) fail("weights: expected panels to be mapped, found none");
    if (storage != Storage::float32) choose(storage);
    mapped_ = std::move(mapped);
    units_ = {}, scales_ = {}, offsets_ = {};
  }

 private:
  bool is_trainable() const { return storage_ == Storage::float32 && !mapped_.units; }

  // Not called for float32, so that programs without packed models are not compiled with all kernels.
  void choose(Storage storage) {
    storage_ = storage;
    const bool float_arithmetic = storage == Storage::bfloat16_weights;
    kernel_ =
        &simd::choose_kernel(weight_format(storage), simd::cpu_features(), {.float_arithmetic = float_arithmetic});
    const simd::TileKernel& bf16 = simd::choose_kernel(simd::WeightFormat::bfloat16);
    operand_kernel_ = !float_arithmetic && bf16.rows == simd::RowFormat::bfloat16 ? &bf16 : nullptr;
  }

  Index rows_;
  Index cols_;
  Storage storage_ = Storage::float32;
  const simd::TileKernel* kernel_ = nullptr;
  const simd::TileKernel* operand_kernel_ = nullptr;
  AlignedBuffer<std::byte> units_;
  AlignedBuffer<float> scales_;
  AlignedBuffer<std::int32_t> offsets_;
  Mapped mapped_;
};

}  // namespace moevit
