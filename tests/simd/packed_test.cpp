#include "random_values.hpp"
#include "simd/architectures.hpp"

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/simd/packed.hpp>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float canary = 1234.5f;

/// Checks every element of a packed rows x cols matrix against element(row, col), and that padding is zero.
template <class Element>
void check_panels(const simd::PackedView& view, Element element) {
  Index wrong = 0;
  for (Index row = 0; row < view.rows; ++row)
    for (Index col = 0; col < view.panels() * view.panel; ++col) {
      const float found =
          view.floats()[(col / view.panel) * view.rows * view.panel + row * view.panel + col % view.panel];
      wrong += found != (col < view.cols ? element(row, col) : 0.f);
    }
  CHECK(wrong == 0);
}

template <class Arch>
void check_packing(Index rows, Index cols) {
  CAPTURE(rows, cols);
  const Index size = simd::packed_size(rows, cols);
  AlignedBuffer<float> target(size + 1);
  target[size] = canary;

  const Index stride = cols + 3;
  const std::vector<float> source = test::normal_values(std::max<Index>(rows * stride - 3, 0), 1);
  const simd::PackedView packed = simd::pack<Arch>(source.data(), stride, rows, cols, target.data());
  CHECK(packed.panel == (cols <= 16 ? 16 : 32));
  check_panels(packed, [&](Index row, Index col) { return source[static_cast<std::size_t>(row * stride + col)]; });

  const Index column_stride = rows + 2;
  const std::vector<float> columns = test::normal_values(std::max<Index>(cols * column_stride - 2, 0), 2);
  const simd::PackedView transposed = simd::pack_transposed(columns.data(), column_stride, rows, cols, target.data());
  check_panels(transposed,
               [&](Index row, Index col) { return columns[static_cast<std::size_t>(col * column_stride + row)]; });
  CHECK(target[size] == canary);
}

}  // namespace

TEST_CASE("pack and pack_transposed place every element and pad with zeros") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index rows : {0, 1, 7, 16})
      for (const Index cols : test::counts_around(16)) check_packing<Arch>(rows, cols);
    check_packing<Arch>(4, 0);
  });
}

TEST_CASE("the offsets of a parameter in panels are those of the packed matrix") {
  constexpr Index rows = 5, cols = 70, first = 33;
  const std::vector<float> source = test::normal_values(rows * cols, 3);
  AlignedBuffer<float> target(simd::packed_size(rows, cols));
  const simd::PackedView packed = simd::pack(source.data(), cols, rows, cols, target.data());
  const ParameterLayout layout{.rows = rows, .cols = cols - first, .first_column = first, .panel = packed.panel};
  for (Index row = 0; row < rows; ++row)
    for (Index col = 0; col < layout.cols; ++col)
      CHECK(target[layout.offset(row, col)] == source[static_cast<std::size_t>(row * cols + first + col)]);
}
