/// Pointers to the kernels of one instruction set.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/core/index.hpp>
#include <moevit/simd/instruction_set.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

struct AttentionHead;
struct CpuFeatures;
struct Epilogue;
struct FloatRows;
struct KernelOptions;
struct PackedView;
struct RowTiles;
struct RowsOut;
struct TileKernel;
struct TilesOut;
struct TransposedOut;
struct WinogradCell;
struct WinogradWeights;
enum class WeightFormat : unsigned char;

/// A reference to something callable, as two pointers: what a table of functions can take instead of a template.
template <class Signature>
class CallableRef;

template <class Result, class... Arguments>
class CallableRef<Result(Arguments...)> {
 public:
  template <class Callable>
  requires(!std::is_same_v<std::remove_cvref_t<Callable>, CallableRef>) CallableRef(Callable&& callable)
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        call_([](void* object, Arguments... arguments) -> Result {
          return (*static_cast<std::remove_reference_t<Callable>*>(object))(arguments...);
        }) {}
  Result operator()(Arguments... arguments) const { return call_(object_, arguments...); }

 private:
  void* object_;
  Result (*call_)(void*, Arguments...);
};

using RowRef = CallableRef<float*(Index)>;
using ConstRowRef = CallableRef<const float*(Index)>;
/// To WinogradPlaces of a row.
using PlacesRef = CallableRef<const std::array<const float*, 16>*(Index)>;
using FloatRef = CallableRef<float(Index)>;
/// (row, rank, column, value)
using VisitChoiceRef = CallableRef<void(Index, Index, std::int32_t, float)>;

/// The kernels of one instruction set, under the names of the functions of this folder that they are. Plain pointers
/// and types of one layout on every set: units that are compiled for different sets may share a table.
struct KernelTable {
  const char* name;  ///< baseline, sse4_2, avx2, avx512 or neon
  const TileKernel* float_kernel;
  void (*gemm_to_rows)(const RowTiles&, const PackedView&, const Epilogue&, const RowsOut&);
  void (*gemm_to_tiles)(const RowTiles&, const PackedView&, const Epilogue&, const TilesOut&);
  void (*fill_tiles)(const RowTiles&, ConstRowRef);
  void (*convert_in_place)(const RowTiles&);
  void (*multiply_columns)(const RowTiles&, const float*, Index, float*);
  void (*multiply_columns_of_rows)(const FloatRows&, const float*, Index, float*, Index);
  void (*put_winograd_weights)(const PackedView&, Index, const WinogradWeights&);
  void (*fill_winograd_tiles)(const RowTiles&, Index, PlacesRef);
  void (*put_winograd_results)(const float*, Index, Index, const WinogradCell&, const Epilogue&, const RowsOut&,
                               float*);
  void (*attention_head)(const AttentionHead&, float*, float*, Index);
  const TileKernel& (*choose_kernel)(WeightFormat, const CpuFeatures*, const KernelOptions*);  ///< null: as by default
  void (*layer_norm_row)(const float*, Index, const float*, const float*, float, float*);
  void (*softmax_row)(const float*, Index, float, float*);
  void (*softmax_rows)(ConstRowRef, Index, Index, RowRef);
  void (*visit_top_k)(ConstRowRef, Index, Index, Index, VisitChoiceRef);
  float (*limit_of_largest)(const float*, Index, Index);
  void (*add_scaled_row)(float, const float*, Index, float*);
  void (*add_weighted_rows)(Index, ConstRowRef, FloatRef, const float*, Index, float*);
  bool (*all_finite)(const float*, Index);
  // Training.
  void (*pack_panel)(const float*, Index, Index, Index, Index, float*);
  void (*add_transposed_product)(const float*, Index, Index, Index, const PackedView&, const TransposedOut&);
  void (*activate_row)(Activation, const float*, Index, float*);
  void (*activation_gradient_row)(Activation, const float*, const float*, Index, float*);
  void (*activate_with_gradient_row)(Activation, float*, float*, Index);
  void (*add_layer_norm_gradient_row)(const float*, const float*, Index, const float*, float, float*, float*, float*);
  float (*dot_row)(const float*, const float*, Index);
  void (*softmax_gradient_row)(const float*, const float*, Index, float, float*);
  void (*softmax_gradient_columns)(float*, float*, Index, Index, float);
};

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
