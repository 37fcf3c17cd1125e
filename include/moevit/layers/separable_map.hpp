/// Linear maps from feature maps to feature maps of another size that work on rows and columns one after the other:
/// what resizing and pooling are.
#pragma once

#include <moevit/core/map_size.hpp>
#include <moevit/core/tensor.hpp>
#include <moevit/core/workspace.hpp>
#include <moevit/simd/rows.hpp>

#include <concepts>

namespace moevit {

/// Places first, first + 1, ..., last - 1 along an axis.
struct AxisRange {
  Index first = 0;
  Index last = 0;
};

/// One axis of such a map: result r = sum of weight(r, s) * source s over sources(r). results(s) has all r with a
/// weight for s, and may have others, whose weight is 0.
template <class A>
concept MapAxis = requires(const A& axis, Index place) {
  { axis.sources(place) } -> std::same_as<AxisRange>;
  { axis.results(place) } -> std::same_as<AxisRange>;
  { axis.weight(place, place) } -> std::same_as<float>;
};

namespace detail {

/// y = the sum of rows (r, c) of one image's map x, `width` columns wide, times their weights; in rising order.
template <class RowWeight, class ColumnWeight>
void sum_places(ConstMatrixView x, Index width, AxisRange rows, AxisRange columns, RowWeight row_weight,
                ColumnWeight column_weight, float* y) {
  std::fill_n(y, x.cols(), 0.f);
  for (Index row = rows.first; row < rows.last; ++row) {
    const float factor = row_weight(row);
    if (factor == 0.f || columns.first == columns.last) continue;
    simd::add_weighted_rows(
        columns.last - columns.first, [&](Index i) { return x.row_data(row * width + columns.first + i); },
        [&](Index i) { return factor * column_weight(columns.first + i); }, nullptr, x.cols(), y);
  }
}

/// f(place, row of y) for all places of the maps of a batch, on all workers.
template <class F>
void each_place(Index images, MapSize size, MatrixView y, Workspace& workspace, F f) {
  constexpr Index block_rows = 64;
  workspace.parallel_rows(images * size.places(), block_rows, [&](Index first, Index count, Arena&) {
    for (Index row = first; row < first + count; ++row)
      f(row / size.places(), row / size.width % size.height, row % size.width, y.row_data(row));
  });
}

}  // namespace detail

/// y = map of x. x: (images * from.places()) x channels, y: (images * to.places()) x channels, assigned.
template <MapAxis Axis>
void map_places(const Axis& rows, const Axis& columns, ConstMatrixView x, MapSize from, Index images, MatrixView y,
                MapSize to, Workspace& workspace) {
  detail::each_place(images, to, y, workspace, [&](Index image, Index row, Index column, float* out) {
    detail::sum_places(
        x.rows_of(image * from.places(), from.places()), from.width, rows.sources(row), columns.sources(column),
        [&](Index source) { return rows.weight(row, source); },
        [&](Index source) { return columns.weight(column, source); }, out);
  });
}

/// dx = the adjoint of map_places(): the gradient of x from dy, that of y. Assigned.
template <MapAxis Axis>
void map_places_adjoint(const Axis& rows, const Axis& columns, ConstMatrixView dy, MapSize to, Index images,
                        MatrixView dx, MapSize from, Workspace& workspace) {
  detail::each_place(images, from, dx, workspace, [&](Index image, Index row, Index column, float* out) {
    detail::sum_places(
        dy.rows_of(image * to.places(), to.places()), to.width, rows.results(row), columns.results(column),
        [&](Index result) { return rows.weight(result, row); },
        [&](Index result) { return columns.weight(result, column); }, out);
  });
}

}  // namespace moevit
