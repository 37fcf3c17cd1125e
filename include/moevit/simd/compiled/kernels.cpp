// The kernels of one instruction set, the one that the flags of this unit name: part of the library moevit::compiled.
//
// Whatever this unit defines that another one may define, too, must have the instruction set in its name, or the linker
// could take code for a newer set than the machine has. So nothing of Eigen and no containers belong here, and a test
// (tests/compiled) looks at the symbols.
#include <moevit/simd/activation_gradient.hpp>
#include <moevit/simd/attention.hpp>
#include <moevit/simd/choose_kernel.hpp>
#include <moevit/simd/compiled/kernel_table.hpp>
#include <moevit/simd/few_columns.hpp>
#include <moevit/simd/int8_widening.hpp>
#include <moevit/simd/layer_norm.hpp>
#include <moevit/simd/row_gradients.hpp>
#include <moevit/simd/rows.hpp>
#include <moevit/simd/softmax_rows.hpp>
#include <moevit/simd/top_k.hpp>
#include <moevit/simd/transposed_product.hpp>
#include <moevit/simd/winograd.hpp>

#define MOEVIT_TEXT_OF(name) #name
#define MOEVIT_TEXT(name) MOEVIT_TEXT_OF(name)
#define MOEVIT_JOIN(left, right) left##right
#define MOEVIT_JOINED(left, right) MOEVIT_JOIN(left, right)

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {
namespace {

const TileKernel& choose(WeightFormat format, const CpuFeatures* features, const KernelOptions* options) {
  return choose_kernel<DefaultArch>(format, features ? *features : cpu_features(),
                                    options ? *options : KernelOptions{});
}

constexpr KernelTable table{
    .name = MOEVIT_TEXT(MOEVIT_INSTRUCTION_SET),
    .float_kernel = &float_kernel<DefaultArch>,
    .gemm_to_rows = &gemm<DefaultArch, RowsOut>,
    .gemm_to_tiles = &gemm<DefaultArch, TilesOut>,
    .fill_tiles = &fill_tiles<DefaultArch, ConstRowRef>,
    .convert_in_place = &convert_in_place<DefaultArch>,
    .multiply_columns = &multiply_columns<DefaultArch>,
    .multiply_columns_of_rows = &multiply_columns_of_rows<DefaultArch>,
    .put_winograd_weights = &put_winograd_weights<DefaultArch>,
    .fill_winograd_tiles = &fill_winograd_tiles<DefaultArch, PlacesRef>,
    .put_winograd_results = &put_winograd_results<DefaultArch>,
    .attention_head = &attention_head<DefaultArch>,
    .choose_kernel = &choose,
    .layer_norm_row = &layer_norm_row<DefaultArch>,
    .softmax_row = &softmax_row<DefaultArch>,
    .softmax_rows = &softmax_rows<DefaultArch, ConstRowRef, RowRef>,
    .visit_top_k = &visit_top_k<DefaultArch, ConstRowRef, VisitChoiceRef>,
    .limit_of_largest = &limit_of_largest<DefaultArch>,
    .add_scaled_row = &add_scaled_row<DefaultArch>,
    .add_weighted_rows = &add_weighted_rows<DefaultArch, ConstRowRef, FloatRef>,
    .all_finite = &all_finite<DefaultArch>,
    .pack_panel = &pack_panel<DefaultArch>,
    .add_transposed_product = &add_transposed_product<DefaultArch>,
    .activate_row = &activate_row<DefaultArch>,
    .activation_gradient_row = &activation_gradient_row<DefaultArch>,
    .activate_with_gradient_row = &activate_with_gradient_row<DefaultArch>,
    .add_layer_norm_gradient_row = &add_layer_norm_gradient_row<DefaultArch>,
    .dot_row = &dot_row<DefaultArch>,
    .softmax_gradient_row = &softmax_gradient_row<DefaultArch>,
    .softmax_gradient_columns = &softmax_gradient_columns<DefaultArch>,
};

}  // namespace
}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET

/// moevit_kernels_<set>: where simd/compiled/choose.cpp finds the table.
extern "C" const void* MOEVIT_JOINED(moevit_kernels_, MOEVIT_INSTRUCTION_SET)();
extern "C" const void* MOEVIT_JOINED(moevit_kernels_, MOEVIT_INSTRUCTION_SET)() { return &moevit::simd::table; }
