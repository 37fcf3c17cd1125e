/// Patches of images of any size to a map of tokens (Swin).
#pragma once

#include <moevit/core/map_size.hpp>
#include <moevit/layers/layer_norm.hpp>
#include <moevit/layers/resample_table.hpp>

namespace moevit {

/// The numbers of a MapPatchEmbedding.
struct MapPatchConfig {
  Index patch = 4;  ///< side in pixels
  Index channels = 3;
  Index dim = 96;
  bool norm = true;            ///< behind the projection
  MapSize positions = {0, 0};  ///< of the table of absolute positions; no places: none
  float epsilon = 1e-5f;

  constexpr bool operator==(const MapPatchConfig&) const = default;
};

/// y = [norm](patches W + b) [+ positions]. A patch is read row by row, channels last; images are padded with zeros at
/// the right and bottom to whole patches. For maps of another size than the table the positions are resampled
/// bicubically. Nothing is saved for the backward pass, which computes it again.
template <MapPatchConfig config>
class MapPatchEmbedding {
  static constexpr Index dim = config.dim;
  static constexpr Index values = config.patch * config.patch * config.channels;
  static constexpr Index block_rows = 112;
  // Copies, as clang 14 goes wrong where a parameter that has a class among its members is used at run time.
  static constexpr float epsilon = config.epsilon;
  static constexpr MapSize table = config.positions;
  static constexpr bool has_positions = table.places() > 0;
  using Projection = Linear<values, dim>;

 public:
  MapPatchEmbedding() : positions_(table.places() * dim) {}

  static constexpr Index input_width = config.channels;
  static constexpr Index output_width = dim;
  static constexpr MapSize result_size(MapSize image) { return image.in_cells(config.patch, config.patch); }

  static constexpr ScratchBytes scratch(Index images, MapSize image) {
    const Index block = largest_block(images * result_size(image).places(), block_rows);
    return {positions_bytes(image), arena_bytes<float>(values) + Projection::scratch_bytes(block)};
  }

  /// x: `images` images as maps of their channels, y: maps of result_size(image).
  void forward(ConstMatrixView x, MapSize image, Index images, MatrixView y, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Index places = result_size(image).places();
    const float* positions = take_positions(result_size(image), workspace.shared());
    workspace.parallel_rows(images * places, block_rows, [&](Index first, Index count, Arena& arena) {
      const MatrixView target = y.rows_of(first, count);
      project(x, image, first, target, arena);
      for (Index row = 0; row < count; ++row) {
        if constexpr (config.norm) norm_.forward_row(target.row_data(row), target.row_data(row), epsilon);
        if constexpr (has_positions)
          simd::add_scaled_row(1.f, positions + (first + row) % places * dim, dim, target.row_data(row));
      }
    });
  }

  /// Adds the gradients of the parameters to grads, and assigns that of the images to dx unless it has no rows.
  void backward(ConstMatrixView x, MapSize image, Index images, ConstMatrixView dy, MapPatchEmbedding& grads,
                MatrixView dx, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index rows = images * result_size(image).places();
    const MatrixView patches(shared.take<float>(rows * values), rows, values);
    const MatrixView d(shared.take<float>(rows * dim), rows, dim);
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) copy_patch(x, image, row, patches.row_data(row));
    });
    if constexpr (has_positions) grads.add_position_gradient(dy, result_size(image), images, shared);
    norm_backward(patches, dy, grads, d, workspace);
    add_weight_gradient(patches, d, grads.projection_.gradient(), workspace);
    if (dx.rows() == 0) return;
    multiply_by_transposed(projection_.kernel(), d, patches, workspace);  // patches are not needed any more
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) place_patch(patches.row_data(row), image, row, dx);
    });
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize image) {
    const Index rows = images * result_size(image).places(), block = largest_block(rows, block_rows);
    const Index norm = config.norm ? arena_bytes<float>(rows * dim) + LayerNorm<dim>::backward_bytes(rows) : 0;
    return {arena_bytes<float>(rows * values) + arena_bytes<float>(rows * dim) +
                std::max({norm, Projection::transposed_bytes, positions_bytes(image)}),
            std::max({scratch(images, image).per_worker, weight_gradient_bytes(rows), tiles_bytes(block, dim)})};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    const auto kernel_shape = Shape{config.patch, config.patch, config.channels, dim};
    Projection::each_parameter(self.projection_, join_name(prefix, "projection"), Role::embedding,
                               [&](auto&& parameter) {
                                 if (parameter.shape.size() == 2) parameter.shape = kernel_shape;
                                 visit(std::move(parameter));
                               });
    if constexpr (config.norm) LayerNorm<dim>::each_parameter(self.norm_, join_name(prefix, "norm"), visit);
    if constexpr (has_positions)
      visit(plain_parameter<ParameterValue<Self>>(join_name(prefix, "position_embedding"), self.positions_.data(),
                                                  {table.height, table.width, dim}, Role::embedding));
  }

 private:
  static constexpr Index positions_bytes(MapSize image) {
    return has_positions && result_size(image) != table ? arena_bytes<float>(result_size(image).places() * dim) : 0;
  }
  /// The positions of a map: the table, or the table resampled in scratch.
  const float* take_positions(MapSize map, Arena& arena) const {
    if (!has_positions || map == table) return positions_.data();
    float* resampled = arena.take<float>(map.places() * dim);
    resample_table(positions_.data(), table, map, dim, resampled);
    return resampled;
  }
  /// Adds the sum of dy over the images, taken back to the table's size.
  void add_position_gradient(ConstMatrixView dy, MapSize map, Index images, Arena& arena) {
    const Arena::Scope scope(arena);
    const bool resampled = map != table;
    float* sums = resampled ? arena.take<float>(map.places() * dim) : positions_.data();
    if (resampled) std::fill_n(sums, map.places() * dim, 0.f);
    for (Index row = 0; row < images * map.places(); ++row)  // one image after the other, so that the sum has one order
      simd::add_scaled_row(1.f, dy.row_data(row), dim, sums + row % map.places() * dim);
    if (resampled) add_resample_gradient(sums, table, map, dim, positions_.data());
  }

  /// d = gradient of patches W + b.
  void norm_backward(ConstMatrixView patches, ConstMatrixView dy, MapPatchEmbedding& grads, MatrixView d,
                     Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Index rows = dy.rows();
    if constexpr (!config.norm) {
      for (Index row = 0; row < rows; ++row) std::copy_n(dy.row_data(row), dim, d.row_data(row));
    } else {
      const MatrixView projected(workspace.shared().template take<float>(rows * dim), rows, dim);
      workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena& arena) {
        projection_.forward(patches.rows_of(first, count), projected.rows_of(first, count), arena);
        std::fill_n(d.row_data(first), count * dim, 0.f);
      });
      norm_.backward(projected, dy, grads.norm_, d, epsilon, workspace);
    }
  }

  void project(ConstMatrixView x, MapSize image, Index first, MatrixView y, Arena& arena) const {
    float* patch = arena.take<float>(values);
    const simd::RowTiles tiles = projection_.take_input(y.rows(), arena);
    simd::fill_tiles(tiles, [&](Index row) {
      copy_patch(x, image, first + row, patch);
      return patch;
    });
    projection_.forward(tiles, simd::RowsOut{y.data(), y.stride()});
  }

  /// visit(row of the image's map or -1 for padding, pixel of the patch) for the patch that a row of the result is of.
  template <class Visit>
  static void each_pixel(MapSize image, Index row, Visit visit) {
    const MapSize grid = result_size(image);
    const Index number = row / grid.places(), patch = row % grid.places();
    for (Index pixel = 0; pixel < config.patch * config.patch; ++pixel) {
      const Index y = patch / grid.width * config.patch + pixel / config.patch;
      const Index x = patch % grid.width * config.patch + pixel % config.patch;
      visit(y < image.height && x < image.width ? (number * image.height + y) * image.width + x : -1, pixel);
    }
  }
  static void copy_patch(ConstMatrixView x, MapSize image, Index row, float* out) {
    each_pixel(image, row, [&](Index place, Index pixel) {
      if (place < 0)
        std::fill_n(out + pixel * config.channels, config.channels, 0.f);
      else
        std::copy_n(x.row_data(place), config.channels, out + pixel * config.channels);
    });
  }
  static void place_patch(const float* patch, MapSize image, Index row, MatrixView dx) {
    each_pixel(image, row, [&](Index place, Index pixel) {
      if (place >= 0) std::copy_n(patch + pixel * config.channels, config.channels, dx.row_data(place));
    });
  }

  Projection projection_;
  LayerNorm<dim> norm_;
  AlignedBuffer<float> positions_;
};

}  // namespace moevit
