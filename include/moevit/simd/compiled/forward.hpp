/// Kernels that were compiled for several instruction sets, one of which is chosen at run time: for people who ship one
/// binary. Included by simd/simd.hpp in programs that link moevit::compiled.
///
/// How it works: the library has one translation unit per set (kernels.cpp), each with a table of pointers to the
/// kernels of the folder simd/. The functions below take the place of the templates of the same names wherever a call
/// names no instruction set, and go through the table of the set that was chosen (choose.cpp).
#pragma once

#include <moevit/simd/compiled/kernel_table.hpp>
#include <moevit/simd/compiled/library.hpp>
#include <moevit/simd/simd.hpp>

#if defined(MOEVIT_COMPILED)

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// The kernels in use: those of the best set that the machine has, or of the one that use_kernels() named.
inline const KernelTable& chosen_kernels() {
  return *static_cast<const KernelTable*>(MOEVIT_LIBRARY_NAME(moevit_chosen_kernels)());
}

/// Uses the kernels of the set `name` (baseline, sse4_2, avx2, avx512; neon) from now on. Returns whether the library
/// and the machine have it; if not, nothing changes. To be called before any model or context is made, since both
/// remember kernels.
inline bool use_kernels(const char* name) { return MOEVIT_LIBRARY_NAME(moevit_use_kernels)(name) != 0; }

// Where the template takes something callable, only a template that asks for more is preferred to it.
template <class Arch>
concept DefaultSet = std::is_same_v<Arch, DefaultArch>;

template <DefaultSet Arch = DefaultArch, class Out>
void gemm(const RowTiles& x, const PackedView& w, const Epilogue& epilogue, const Out& y) {
  if constexpr (Out::is_padded)
    chosen_kernels().gemm_to_tiles(x, w, epilogue, y);
  else
    chosen_kernels().gemm_to_rows(x, w, epilogue, y);
}
template <DefaultSet Arch = DefaultArch, class RowOf>
void fill_tiles(const RowTiles& tiles, RowOf row_of) {
  chosen_kernels().fill_tiles(tiles, row_of);
}
inline void convert_in_place(const RowTiles& tiles) { chosen_kernels().convert_in_place(tiles); }
inline void multiply_columns(const RowTiles& x, const float* columns, Index count, float* y) {
  chosen_kernels().multiply_columns(x, columns, count, y);
}
inline void multiply_columns_of_rows(const FloatRows& x, const float* columns, Index count, float* y, Index y_stride) {
  chosen_kernels().multiply_columns_of_rows(x, columns, count, y, y_stride);
}
inline void put_winograd_weights(const PackedView& w, Index panel, const WinogradWeights& target) {
  chosen_kernels().put_winograd_weights(w, panel, target);
}
template <DefaultSet Arch = DefaultArch, class PlacesOf>
void fill_winograd_tiles(const RowTiles& first, Index step, PlacesOf places_of) {
  chosen_kernels().fill_winograd_tiles(first, step, places_of);
}
inline void put_winograd_results(const float* sums, Index step, Index outputs, const WinogradCell& cell,
                                 const Epilogue& epilogue, const RowsOut& y, float* room) {
  chosen_kernels().put_winograd_results(sums, step, outputs, cell, epilogue, y, room);
}
inline void attention_head(const AttentionHead& head, float* scratch, float* out, Index out_stride) {
  chosen_kernels().attention_head(head, scratch, out, out_stride);
}
inline const TileKernel& choose_kernel(WeightFormat format) {
  return chosen_kernels().choose_kernel(format, nullptr, nullptr);
}
inline const TileKernel& choose_kernel(WeightFormat format, const CpuFeatures& features, const KernelOptions& options) {
  return chosen_kernels().choose_kernel(format, &features, &options);
}
inline void layer_norm_row(const float* x, Index count, const float* scale, const float* bias, float epsilon,
                           float* y) {
  chosen_kernels().layer_norm_row(x, count, scale, bias, epsilon, y);
}
inline void softmax_row(const float* x, Index count, float factor, float* y) {
  chosen_kernels().softmax_row(x, count, factor, y);
}
template <DefaultSet Arch = DefaultArch, class From, class To>
void softmax_rows(From from, Index rows, Index count, To to) {
  chosen_kernels().softmax_rows(from, rows, count, to);
}
template <DefaultSet Arch = DefaultArch, class Row, class Visit>
void visit_top_k(Row row, Index rows, Index count, Index k, Visit visit) {
  chosen_kernels().visit_top_k(row, rows, count, k, visit);
}
inline float limit_of_largest(const float* x, Index count, Index k) {
  return chosen_kernels().limit_of_largest(x, count, k);
}
inline void add_scaled_row(float weight, const float* x, Index count, float* y) {
  chosen_kernels().add_scaled_row(weight, x, count, y);
}
template <DefaultSet Arch = DefaultArch, class Row, class Weight>
void add_weighted_rows(Index rows, Row row, Weight weight, const float* scale, Index count, float* y) {
  chosen_kernels().add_weighted_rows(rows, row, weight, scale, count, y);
}
inline bool all_finite(const float* x, Index count) { return chosen_kernels().all_finite(x, count); }

inline void pack_panel(const float* source, Index stride, Index rows, Index cols, Index panel, float* target) {
  chosen_kernels().pack_panel(source, stride, rows, cols, panel, target);
}
inline void add_transposed_product(const float* x, Index x_stride, Index first, Index count, const PackedView& d,
                                   const TransposedOut& y) {
  chosen_kernels().add_transposed_product(x, x_stride, first, count, d, y);
}
inline void activate_row(Activation activation, const float* x, Index count, float* y) {
  chosen_kernels().activate_row(activation, x, count, y);
}
inline void activation_gradient_row(Activation activation, const float* x, const float* dy, Index count, float* dx) {
  chosen_kernels().activation_gradient_row(activation, x, dy, count, dx);
}
inline void activate_with_gradient_row(Activation activation, float* x, float* d, Index count) {
  chosen_kernels().activate_with_gradient_row(activation, x, d, count);
}
inline void add_layer_norm_gradient_row(const float* x, const float* dy, Index count, const float* scale, float epsilon,
                                        float* d_scale, float* d_bias, float* dx) {
  chosen_kernels().add_layer_norm_gradient_row(x, dy, count, scale, epsilon, d_scale, d_bias, dx);
}
inline float dot_row(const float* x, const float* y, Index count) { return chosen_kernels().dot_row(x, y, count); }
inline void softmax_gradient_row(const float* p, const float* dp, Index count, float factor, float* dx) {
  chosen_kernels().softmax_gradient_row(p, dp, count, factor, dx);
}
inline void softmax_gradient_columns(float* scores, float* dp, Index count, Index columns, float factor) {
  chosen_kernels().softmax_gradient_columns(scores, dp, count, columns, factor);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET

#endif  // MOEVIT_COMPILED
