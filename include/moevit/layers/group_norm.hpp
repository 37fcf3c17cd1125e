/// Group norm over feature maps.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/simd/channel_sums.hpp>

#include <array>
#include <cmath>

namespace moevit {

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias with mean and variance over all places of an image and the
/// channels of a group, `width / groups` neighbours (Wu and He 2018). scale starts at 1. One task per image and group,
/// so that the sums of an image have an order of their own.
template <Index width, Index groups>
class GroupNorm {
  static_assert(groups > 0 && width % groups == 0, "GroupNorm: the width must be a multiple of the groups");
  static constexpr Index channels = width / groups;  ///< of a group
  static constexpr Index sum_rows = 64;
  using Channels = std::array<float, static_cast<std::size_t>(channels)>;

 public:
  GroupNorm() : scale_(width), bias_(width) { std::fill_n(scale_.data(), width, 1.f); }

  /// x, y: (images * places) x width; y may be x. No scratch.
  void forward(ConstMatrixView x, Index images, MatrixView y, float epsilon, Workspace& workspace) const {
    workspace.parallel(images * groups, [&](Index task, Arena&) {
      const Group<ConstMatrixView> own = group_of(x, images, task);
      const Group<MatrixView> out = group_of(y, images, task);
      const Moments moments = moments_of(own.values, epsilon);
      Channels mean, factor;
      mean.fill(moments.mean);
      simd::scale_channels(scale_.data() + own.first, filled(moments.inverse).data(), channels, factor.data());
      for (Index row = 0; row < own.values.rows(); ++row)
        simd::normalise_channels(own.values.row_data(row), mean.data(), factor.data(), bias_.data() + own.first,
                                 channels, out.values.row_data(row));
    });
  }

  /// The gradient of forward(): from dy that of x, assigned to dx, which may be dy, and those of scale and bias, added
  /// to grads.
  void backward(ConstMatrixView x, ConstMatrixView dy, Index images, GroupNorm& grads, MatrixView dx, float epsilon,
                Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    float* sums = workspace.shared().template take<float>(images * 2 * width);
    std::fill_n(sums, images * 2 * width, 0.f);
    workspace.parallel(images * groups, [&](Index task, Arena&) {
      float* own = sums + task / groups * 2 * width + task % groups * channels;
      group_backward(group_of(x, images, task), group_of(dy, images, task).values, epsilon, own,
                     group_of(dx, images, task).values);
    });
    for (Index image = 0; image < images; ++image)
      for (Index i = 0; i < width; ++i) {
        grads.scale_[i] += sums[image * 2 * width + i];
        grads.bias_[i] += sums[image * 2 * width + width + i];
      }
  }
  static constexpr ScratchBytes backward_scratch(Index images) { return {arena_bytes<float>(images * 2 * width), 0}; }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    using T = ParameterValue<Self>;
    visit(plain_parameter<T>(join_name(prefix, "scale"), self.scale_.data(), {width}, Role::norm));
    visit(plain_parameter<T>(join_name(prefix, "bias"), self.bias_.data(), {width}, Role::norm));
  }

 private:
  /// The channels of one group in one image.
  template <class View>
  struct Group {
    View values;
    Index first = 0;  ///< channel
  };
  template <class View>
  static Group<View> group_of(const View& x, Index images, Index task) {
    const Index places = x.rows() / images, first = task % groups * channels;
    return {{x.row_data(task / groups * places) + first, places, channels, x.stride()}, first};
  }

  struct Moments {
    float mean = 0.f, inverse = 0.f;
  };
  static Channels filled(float value) {
    Channels result;
    result.fill(value);
    return result;
  }

  /// Sum of what add(first, rows, sums) adds for blocks of rows, in rising order, over all channels.
  template <class Add>
  static double total(Index rows, Add add) {
    double sum = 0.;
    for (Index first = 0; first < rows; first += sum_rows) {
      Channels sums = filled(0.f);
      add(first, std::min(sum_rows, rows - first), sums.data());
      for (const float value : sums) sum += static_cast<double>(value);
    }
    return sum;
  }

  static Moments moments_of(ConstMatrixView x, float epsilon) {
    const double count = static_cast<double>(x.rows() * channels);
    const auto mean =
        static_cast<float>(total(x.rows(),
                                 [&](Index first, Index rows, float* sums) {
                                   simd::add_channel_sums(x.row_data(first), x.stride(), rows, channels, sums);
                                 }) /
                           count);
    const Channels means = filled(mean);
    const double squares = total(x.rows(), [&](Index first, Index rows, float* sums) {
      simd::add_channel_squares(x.row_data(first), x.stride(), rows, channels, means.data(), sums);
    });
    return {mean, 1.f / std::sqrt(static_cast<float>(squares / count) + epsilon)};
  }

  /// With n = (x - mean) inverse and g = dy scale: dx = (g - mean(g) - n mean(g n)) inverse. sums: of dy n, and `width`
  /// floats behind it of dy, by channels.
  void group_backward(const Group<ConstMatrixView>& x, ConstMatrixView dy, float epsilon, float* sums,
                      MatrixView dx) const {
    const Moments moments = moments_of(x.values, epsilon);
    const Channels means = filled(moments.mean);
    const Index rows = x.values.rows(), stride = x.values.stride();
    float* bias_sums = sums + width;
    for (Index first = 0; first < rows; first += sum_rows) {
      const Index count = std::min(sum_rows, rows - first);
      simd::add_centred_products(x.values.row_data(first), stride, means.data(), dy.row_data(first), dy.stride(), count,
                                 channels, sums);
      simd::add_channel_sums(dy.row_data(first), dy.stride(), count, channels, bias_sums);
    }
    double sum = 0., sum_n = 0.;
    Channels factor;
    for (Index i = 0; i < channels; ++i) {
      sums[i] *= moments.inverse;
      const float scale = scale_[x.first + i];
      sum += static_cast<double>(bias_sums[i] * scale), sum_n += static_cast<double>(sums[i] * scale);
      factor[static_cast<std::size_t>(i)] = scale * moments.inverse;
    }
    const double count = static_cast<double>(rows * channels);
    const Channels shift = filled(static_cast<float>(-sum / count) * moments.inverse);
    const Channels slope = filled(static_cast<float>(-sum_n / count) * moments.inverse * moments.inverse);
    for (Index row = 0; row < rows; ++row)
      simd::normalise_channels_gradient(x.values.row_data(row), means.data(), dy.row_data(row), factor.data(),
                                        slope.data(), shift.data(), channels, dx.row_data(row));
  }

  AlignedBuffer<float> scale_, bias_;
};

}  // namespace moevit
