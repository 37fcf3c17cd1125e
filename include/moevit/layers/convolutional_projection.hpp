/// The projection of queries, keys or values in a convolutional transformer: depth-wise convolution, batch norm,
/// linear.
#pragma once

#include <moevit/layers/batch_norm.hpp>
#include <moevit/layers/depthwise_convolution.hpp>

namespace moevit {

/// The numbers of a ConvolutionalProjection.
struct ConvolutionalProjectionConfig {
  Index dim = 64;
  ConvolutionWindow window = {3, 1, 1};
  Index class_tokens = 0;  ///< rows of an image that are not convolved, in front of the others
  bool bias = true;
  NormStatistics statistics = NormStatistics::batch;  ///< that training passes normalise with
  float epsilon = 1e-5f;                              ///< of the batch norm

  constexpr bool operator==(const ConvolutionalProjectionConfig&) const = default;
};

/// Tokens of a batch of maps: the places in one matrix, class tokens, which may be none, in another.
template <class View>
struct TokenMaps {
  View places;        ///< (images * size.places()) x D
  View class_tokens;  ///< (images * class tokens) x D
  MapSize size;
  Index images = 0;
};

/// y = norm(x * w) W + b for the places of a map, y = x W + b for class tokens. Source: Wu et al. 2021, section 3.2.
template <ConvolutionalProjectionConfig config>
class ConvolutionalProjection {
  static constexpr Index dim = config.dim;
  using Convolved = DepthwiseConvolution<dim, config.window>;
  using Norm = BatchNorm<dim>;
  using Projection = Linear<dim, dim, config.bias>;
  using Tokens = TokenMaps<ConstMatrixView>;

 public:
  static constexpr Index block_rows = 112;

  static constexpr MapSize result_size(MapSize size) { return config.window.result_size(size); }
  /// Rows of one image in the result.
  static constexpr Index result_tokens(MapSize size) { return config.class_tokens + result_size(size).places(); }
  const simd::TileKernel* operand_kernel() const { return projection_.operand_kernel(); }

  static constexpr ScratchBytes scratch(Index images, MapSize size) {
    const Index block = largest_block(images * result_tokens(size), block_rows);
    return {arena_bytes<float>(Convolved::kernel_size) + arena_bytes<float>(dim),
            arena_bytes<float>(Convolved::places_at_once * dim) + Projection::scratch_bytes(block)};
  }
  /// y: (images * result_tokens) x D, class tokens of an image first. The batch norm is folded into the convolution.
  void forward(const Tokens& x, MatrixView y, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    float* kernel = workspace.shared().template take<float>(Convolved::kernel_size);
    float* bias = workspace.shared().template take<float>(dim);
    norm_.fold(convolution_.kernel(), config.window.taps(), config.epsilon, kernel, bias);
    const MapSize result = result_size(x.size);
    project(x, y, workspace, [&](Index row, MatrixView out) {
      return Convolved::forward_places(x.places, x.size, place_of(row, result), kernel, bias, out);
    });
  }

  /// What backward() needs of a pass.
  struct Saved {
    MatrixView convolved;  ///< before the norm, (images * places of the result) x D
    typename Norm::Saved norm;

    Saved images_of(Index first, Index count, MapSize size) const {
      const Index places = result_size(size).places();
      return {convolved.rows_of(first * places, count * places), norm};
    }
  };
  static constexpr Index saved_bytes(Index images, MapSize size) {
    return arena_bytes<float>(images * result_size(size).places() * dim) + Norm::saved_bytes();
  }
  static Saved take_saved(Index images, MapSize size, Arena& arena) {
    const Index rows = images * result_size(size).places();
    const MatrixView convolved(arena.take<float>(rows * dim), rows, dim);
    return {convolved, Norm::take_saved(arena)};
  }
  /// As forward(), with the statistics that training takes, filling `saved`.
  void forward_saved(const Tokens& x, const Saved& saved, MatrixView y, Workspace& workspace) const {
    convolution_.forward(x.places, x.size, x.images, saved.convolved, workspace);
    norm_.take_statistics(saved.convolved, config.statistics, config.epsilon, saved.norm, workspace);
    project_saved(x, saved, y, workspace);
  }

  /// From d_y, the gradient of y: adds those of the tokens to `d` and those of the parameters to grads.
  void backward(const Tokens& x, const Saved& saved, ConstMatrixView d_y, ConvolutionalProjection& grads,
                const TokenMaps<MatrixView>& d, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index rows = d_y.rows(), places = saved.convolved.rows(), tokens = result_tokens(x.size);
    const MatrixView normed(shared.take<float>(rows * dim), rows, dim);
    const MatrixView d_convolved(shared.take<float>(places * dim), places, dim);
    each_normed_row(x, saved, normed, workspace);
    add_weight_gradient(normed, d_y, grads.projection_.gradient(), workspace);
    multiply_by_transposed(projection_.kernel(), d_y, normed, workspace);  // normed is not needed any more
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) {
        const Index image = row / tokens, token = row % tokens;
        if (token < config.class_tokens)
          simd::add_scaled_row(1.f, normed.row_data(row), dim,
                               d.class_tokens.row_data(image * config.class_tokens + token));
        else
          std::copy_n(normed.row_data(row), dim, d_convolved.row_data(row - (image + 1) * config.class_tokens));
      }
    });
    norm_.backward(saved.convolved, d_convolved, config.statistics, saved.norm, grads.norm_, d_convolved, workspace);
    convolution_.backward(x.places, d_convolved, x.size, x.images, grads.convolution_, d.places, workspace);
  }
  /// Scratch of forward_saved() and backward().
  static constexpr ScratchBytes training_scratch(Index images, MapSize size) {
    const Index rows = images * result_tokens(size), places = images * result_size(size).places();
    const Index own = arena_bytes<float>(rows * dim) + arena_bytes<float>(places * dim) + arena_bytes<float>(dim);
    return {own + std::max(Projection::transposed_bytes, Norm::training_scratch(places).shared),
            std::max({scratch(images, size).per_worker, weight_gradient_bytes(rows),
                      tiles_bytes(largest_block(rows, block_rows), dim)})};
  }

  /// Floats of the statistics of one batch.
  static constexpr Index statistics_size = 2 * dim;
  static void copy_statistics(const Saved& saved, float* statistics) {
    std::copy_n(saved.norm.mean, dim, statistics);
    std::copy_n(saved.norm.variance, dim, statistics + dim);
  }
  /// Lets the running statistics of the norm follow those that were copied from a pass over `images` maps.
  void follow(const float* statistics, Index images, MapSize size, float momentum) {
    norm_.follow(statistics, statistics + dim, images * result_size(size).places(), momentum);
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Convolved::each_parameter(self.convolution_, join_name(prefix, "convolution"), Role::attention, visit);
    Norm::each_parameter(self.norm_, join_name(prefix, "norm"), visit);
    Projection::each_parameter(self.projection_, prefix, Role::attention, visit);
  }

 private:
  /// y = rows W + b, where a class token is a row itself and make(row, out) makes places of the result from `row` on,
  /// as many as it likes but no more than `out` has rows, and returns how many.
  template <class Make>
  void project(const Tokens& x, MatrixView y, Workspace& workspace, Make make) const {
    const Index tokens = result_tokens(x.size);
    workspace.parallel_rows(y.rows(), block_rows, [&](Index first, Index count, Arena& arena) {
      const MatrixView room(arena.take<float>(Convolved::places_at_once * dim), Convolved::places_at_once, dim);
      const simd::RowTiles tiles = projection_.take_input(count, arena);
      Index made = 0, made_end = 0;  // the rows that lie in `room`
      simd::fill_tiles(tiles, [&](Index row) -> const float* {
        const Index image = (first + row) / tokens, token = (first + row) % tokens;
        if (token < config.class_tokens) return x.class_tokens.row_data(image * config.class_tokens + token);
        if (row >= made_end) {
          const Index most = std::min(room.rows(), count - row);
          made = row, made_end = row + make(first + row - (image + 1) * config.class_tokens, room.rows_of(0, most));
        }
        return room.row_data(row - made);
      });
      projection_.forward(tiles, simd::RowsOut{y.row_data(first), y.stride()});
    });
  }
  void project_saved(const Tokens& x, const Saved& saved, MatrixView y, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    float* factor = workspace.shared().template take<float>(dim);
    norm_.factors(saved.norm, factor);
    project(x, y, workspace, [&](Index row, MatrixView out) {
      norm_.forward_row(saved.convolved.row_data(row), saved.norm, factor, out.data());
      return Index{1};
    });
  }
  /// What project_saved() multiplied.
  void each_normed_row(const Tokens& x, const Saved& saved, MatrixView normed, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    float* factor = workspace.shared().template take<float>(dim);
    norm_.factors(saved.norm, factor);
    const Index tokens = result_tokens(x.size);
    workspace.parallel_rows(normed.rows(), block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) {
        const Index image = row / tokens, token = row % tokens;
        if (token < config.class_tokens)
          std::copy_n(x.class_tokens.row_data(image * config.class_tokens + token), dim, normed.row_data(row));
        else
          norm_.forward_row(saved.convolved.row_data(row - (image + 1) * config.class_tokens), saved.norm, factor,
                            normed.row_data(row));
      }
    });
  }

  Convolved convolution_;
  Norm norm_;
  Projection projection_;
};

}  // namespace moevit
