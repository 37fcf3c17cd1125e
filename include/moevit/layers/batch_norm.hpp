/// Batch norm over the places of maps, channel by channel.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/simd/channel_sums.hpp>

#include <cmath>

namespace moevit {

/// Which statistics a training pass normalises with: those of its batch, or the running ones, as inference does.
enum class NormStatistics : unsigned char { batch, running };

/// How far running statistics go towards those of a batch; the usual number.
inline constexpr float batch_norm_momentum = 0.1f;

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias with mean and variance of each channel over all places of
/// all images. Inference takes running statistics, which training follows: the map is affine then, and is folded into
/// the convolution before it (fold()). Scale and running variance start at 1.
///
/// Sums over places run over blocks of rows of one size, whatever the number of threads is.
template <Index width>
class BatchNorm {
  static constexpr Index sum_rows = 256;
  static constexpr Index apply_rows = 128;

 public:
  BatchNorm() : scale_(width), bias_(width), mean_(width), variance_(width) {
    std::fill_n(scale_.data(), width, 1.f);
    std::fill_n(variance_.data(), width, 1.f);
  }

  /// As a map x * factor + shift with the running statistics; both have `width` floats.
  void affine(float epsilon, float* factor, float* shift) const {
    for (Index i = 0; i < width; ++i) {
      factor[i] = scale_[i] / std::sqrt(variance_[i] + epsilon);
      shift[i] = bias_[i] - mean_[i] * factor[i];
    }
  }
  /// The kernel and bias of a convolution without bias that does this norm as well, from the kernel before it, `inputs`
  /// rows of `width` floats (depth-wise: one per tap), which is not `folded`. Inference folds on the way, a few
  /// operations per weight and pass, so that nothing is kept that could go out of date.
  void fold(const float* kernel, Index inputs, float epsilon, float* folded, float* bias) const {
    float* factor = folded + (inputs - 1) * width;  // the last row is written last
    affine(epsilon, factor, bias);
    for (Index row = 0; row < inputs; ++row)
      simd::scale_channels(kernel + row * width, factor, width, folded + row * width);
  }

  /// The statistics that a pass normalised with: `width` floats each.
  struct Saved {
    float* mean = nullptr;
    float* variance = nullptr;  ///< biased, of the batch
    float* inverse = nullptr;   ///< 1 / sqrt(variance + epsilon)
  };
  static constexpr Index saved_bytes() { return 3 * arena_bytes<float>(width); }
  static Saved take_saved(Arena& arena) {
    return {arena.take<float>(width), arena.take<float>(width), arena.take<float>(width)};
  }

  /// Fills `saved` with the statistics of the rows of x, or with the running ones.
  void take_statistics(ConstMatrixView x, NormStatistics statistics, float epsilon, const Saved& saved,
                       Workspace& workspace) const {
    if (statistics == NormStatistics::running) {
      std::copy_n(mean_.data(), width, saved.mean);
      std::copy_n(variance_.data(), width, saved.variance);
    } else {
      average(x.rows(), width, workspace, saved.mean, [&](Index first, Index rows, float* sums) {
        simd::add_channel_sums(x.row_data(first), x.stride(), rows, width, sums);
      });
      average(x.rows(), width, workspace, saved.variance, [&](Index first, Index rows, float* sums) {
        simd::add_channel_squares(x.row_data(first), x.stride(), rows, width, saved.mean, sums);
      });
    }
    for (Index i = 0; i < width; ++i) saved.inverse[i] = 1.f / std::sqrt(saved.variance[i] + epsilon);
  }
  /// One row, by saved statistics: (x - mean) * factor + bias, with the factor of factors(). y may be x.
  void forward_row(const float* x, const Saved& saved, const float* factor, float* y) const {
    simd::normalise_channels(x, saved.mean, factor, bias_.data(), width, y);
  }
  /// scale / sqrt(variance + epsilon) of saved statistics; `width` floats.
  void factors(const Saved& saved, float* factor) const {
    simd::scale_channels(scale_.data(), saved.inverse, width, factor);
  }

  /// y = norm(x) for all rows; fills `saved`. y may be x.
  void forward_saved(ConstMatrixView x, NormStatistics statistics, float epsilon, const Saved& saved, MatrixView y,
                     Workspace& workspace) const {
    take_statistics(x, statistics, epsilon, saved, workspace);
    const Arena::Scope scope(workspace.shared());
    float* factor = workspace.shared().template take<float>(width);
    factors(saved, factor);
    workspace.parallel_rows(x.rows(), apply_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) forward_row(x.row_data(row), saved, factor, y.row_data(row));
    });
  }

  /// Lets the running statistics follow mean and biased variance of a batch of `count` rows: running += momentum *
  /// (batch - running), with the unbiased variance, as PyTorch does.
  void follow(const float* mean, const float* variance, Index count, float momentum) {
    if (count == 0) return;
    const auto rows = static_cast<float>(count);
    for (Index i = 0; i < width; ++i) {
      const float unbiased = count > 1 ? variance[i] * (rows / (rows - 1.f)) : variance[i];
      mean_[i] += momentum * (mean[i] - mean_[i]);
      variance_[i] += momentum * (unbiased - variance_[i]);
    }
  }

  /// The gradient of forward_saved(): dx from dy, which it may be; those of scale and bias are added to grads.
  void backward(ConstMatrixView x, ConstMatrixView dy, NormStatistics statistics, const Saved& saved, BatchNorm& grads,
                MatrixView dx, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    // With n = (x - mean) * inverse: means of dy and of dy n, which a norm with statistics of its own input takes away.
    float *means = shared.take<float>(2 * width), *factor = shared.take<float>(3 * width);
    average(x.rows(), 2 * width, workspace, means, [&](Index first, Index rows, float* sums) {
      simd::add_channel_sums(dy.row_data(first), dy.stride(), rows, width, sums);
      simd::add_centred_products(x.row_data(first), x.stride(), saved.mean, dy.row_data(first), dy.stride(), rows,
                                 width, sums + width);
    });
    const auto rows = static_cast<float>(x.rows());
    float *slope = factor + width, *shift = slope + width;
    for (Index i = 0; i < width; ++i) {
      const float mean_n = means[width + i] * saved.inverse[i];
      grads.bias_[i] += rows * means[i];
      grads.scale_[i] += rows * mean_n;
      factor[i] = scale_[i] * saved.inverse[i];
      const float own = statistics == NormStatistics::batch ? factor[i] : 0.f;
      slope[i] = -own * mean_n * saved.inverse[i];
      shift[i] = -own * means[i];
    }
    workspace.parallel_rows(x.rows(), apply_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row)
        simd::normalise_channels_gradient(x.row_data(row), saved.mean, dy.row_data(row), factor, slope, shift, width,
                                          dx.row_data(row));
    });
  }
  /// Scratch of forward_saved() and backward().
  static constexpr ScratchBytes training_scratch(Index rows) {
    return {arena_bytes<float>(2 * width) + arena_bytes<float>(3 * width) +
                arena_bytes<float>(ceil_div(rows, sum_rows) * 2 * width),
            0};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    using T = ParameterValue<Self>;
    const auto parameter = [&](const char* name, auto& values, Role role) {
      visit(plain_parameter<T>(join_name(prefix, name), values.data(), {width}, role));
    };
    parameter("scale", self.scale_, Role::norm);
    parameter("bias", self.bias_, Role::norm);
    parameter("running_mean", self.mean_, Role::statistics);
    parameter("running_variance", self.variance_, Role::statistics);
  }

 private:
  /// means[channels] = sums over `rows` rows divided by their number; add(first, rows, sums) adds those of a block.
  template <class Add>
  static void average(Index rows, Index channels, Workspace& workspace, float* means, Add add) {
    const Arena::Scope scope(workspace.shared());
    const Index blocks = ceil_div(rows, sum_rows);
    float* sums = workspace.shared().template take<float>(blocks * channels);
    workspace.parallel(blocks, [&](Index block, Arena&) {
      float* own = sums + block * channels;
      std::fill_n(own, channels, 0.f);
      const Index first = block * sum_rows;
      add(first, std::min(sum_rows, rows - first), own);
    });
    for (Index i = 0; i < channels; ++i) {
      double sum = 0.;
      for (Index block = 0; block < blocks; ++block) sum += static_cast<double>(sums[block * channels + i]);
      means[i] = rows > 0 ? static_cast<float>(sum / static_cast<double>(rows)) : 0.f;
    }
  }

  AlignedBuffer<float> scale_, bias_;
  AlignedBuffer<float> mean_, variance_;  ///< running
};

}  // namespace moevit
