/// Resizing of 8-bit images to the very bytes that Pillow gives: antialiased, bilinear or bicubic.
///
/// The method is that of Pillow's Resample.c: a separable filter whose support grows with the factor of reduction,
/// weights in 22-bit fixed point, two passes with the result rounded and clipped to bytes after each.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/io/image_view.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// A rectangle of an image, in pixels.
struct ImageWindow {
  Index top = 0;
  Index left = 0;
  Index height = 0;
  Index width = 0;
};

namespace detail {

// A byte times a weight leaves two bits of an int32 for the sign and the overshoot of the bicubic filter.
inline constexpr int resize_weight_bits = 32 - 8 - 2;

inline double filter_radius(Interpolation interpolation) {
  return interpolation == Interpolation::bilinear ? 1.0 : 2.0;
}

/// Weight at a distance in units of the filter's scale: the triangle, or Keys' cubic with a = -0.5.
inline double filter_weight(Interpolation interpolation, double distance) {
  const double x = std::abs(distance);
  if (interpolation == Interpolation::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

/// The input pixels, and their weights, that each output pixel along one axis is made of.
class AxisFilter {
 public:
  /// Only the outputs [first_output, first_output + outputs) of `out_length` are prepared.
  AxisFilter(Index in_length, Index out_length, Index first_output, Index outputs, Interpolation interpolation) {
    const double scale = static_cast<double>(in_length) / static_cast<double>(out_length);
    const double filter_scale = std::max(scale, 1.0);
    const double radius = filter_radius(interpolation) * filter_scale;
    for (Index output = first_output; output < first_output + outputs; ++output) {
      const double centre = (static_cast<double>(output) + 0.5) * scale;
      const Index begin = std::max<Index>(static_cast<Index>(centre - radius + 0.5), 0);
      const Index end = std::min(static_cast<Index>(centre + radius + 0.5), in_length);
      first_input_.push_back(begin);
      first_weight_.push_back(weights_.size());
      append_weights(begin, end, centre, 1.0 / filter_scale, interpolation);
    }
    first_weight_.push_back(weights_.size());
  }

  Index outputs() const { return std::ssize(first_input_); }
  Index first_input(Index output) const { return first_input_[static_cast<std::size_t>(output)]; }
  std::span<const std::int32_t> weights(Index output) const {
    const auto i = static_cast<std::size_t>(output);
    return std::span(weights_).subspan(first_weight_[i], first_weight_[i + 1] - first_weight_[i]);
  }

  /// The pixels that any output reads are [first_input(), first_input() + inputs()).
  Index first_input() const { return first_input_.front(); }
  Index inputs() const { return first_input_.back() + std::ssize(weights(outputs() - 1)) - first_input_.front(); }
  /// Counts inputs from the first one that is read.
  void count_from_first_input() {
    const Index first = first_input();
    for (Index& input : first_input_) input -= first;
  }

 private:
  void append_weights(Index begin, Index end, double centre, double inverse_scale, Interpolation interpolation) {
    std::vector<double> exact;
    double sum = 0;
    for (Index input = begin; input < end; ++input) {
      exact.push_back(filter_weight(interpolation, (static_cast<double>(input) - centre + 0.5) * inverse_scale));
      sum += exact.back();
    }
    for (double weight : exact) {
      const double fixed = (sum != 0.0 ? weight / sum : weight) * (1 << resize_weight_bits);
      weights_.push_back(static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }

  std::vector<Index> first_input_;
  std::vector<std::size_t> first_weight_;
  std::vector<std::int32_t> weights_;
};

inline constexpr std::int32_t resize_half = 1 << (resize_weight_bits - 1);

inline std::uint8_t clip_to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> resize_weight_bits, 0, 255));
}

template <Index channels>
void filter_row(const std::uint8_t* in, const AxisFilter& filter, std::uint8_t* out) {
  for (Index output = 0; output < filter.outputs(); ++output) {
    std::int32_t sums[channels];
    std::fill_n(sums, channels, resize_half);
    const std::uint8_t* pixel = in + filter.first_input(output) * channels;
    for (std::int32_t weight : filter.weights(output)) {
      for (Index channel = 0; channel < channels; ++channel) sums[channel] += weight * *pixel++;
    }
    for (Index channel = 0; channel < channels; ++channel) *out++ = clip_to_byte(sums[channel]);
  }
}

/// The horizontal pass over rows [first_row, first_row + rows).
inline Image filter_rows(ImageView image, Index first_row, Index rows, const AxisFilter& filter) {
  Image result(rows, filter.outputs(), image.channels());
  for (Index y = 0; y < rows; ++y) {
    if (image.channels() == 1) {
      filter_row<1>(image.row(first_row + y), filter, result.row(y));
    } else {
      filter_row<3>(image.row(first_row + y), filter, result.row(y));
    }
  }
  return result;
}

/// The vertical pass over columns [first_column, first_column + columns).
inline Image filter_columns(ImageView image, Index first_column, Index columns, const AxisFilter& filter) {
  Image result(filter.outputs(), columns, image.channels());
  std::vector<std::int32_t> sums(static_cast<std::size_t>(columns * image.channels()));
  for (Index y = 0; y < result.height(); ++y) {
    std::fill(sums.begin(), sums.end(), resize_half);
    Index input = filter.first_input(y);
    for (std::int32_t weight : filter.weights(y)) {
      const std::uint8_t* row = image.row(input++) + first_column * image.channels();
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += weight * row[i];
    }
    std::transform(sums.begin(), sums.end(), result.row(y), clip_to_byte);
  }
  return result;
}

inline Image copy_window(ImageView image, const ImageWindow& window) {
  Image result(window.height, window.width, image.channels());
  for (Index y = 0; y < window.height; ++y) {
    const std::uint8_t* from = image.row(window.top + y) + window.left * image.channels();
    std::copy_n(from, window.width * image.channels(), result.row(y));
  }
  return result;
}

inline void check_window(const ImageWindow& window, Index height, Index width) {
  if (height < 1 || width < 1) fail("resize: to ", height, " x ", width, " pixels (height x width)");
  const bool inside = window.top >= 0 && window.left >= 0 && window.height >= 1 && window.width >= 1 &&
                      window.height <= height - window.top && window.width <= width - window.left;
  if (!inside) {
    fail("resize: a window of ", window.height, " x ", window.width, " at (", window.top, ", ", window.left,
         ") is not inside ", height, " x ", width);
  }
}

/// The order of the passes matters in the last bit. Pillow 13 begins with the vertical one where it takes away more
/// than twice as many rows as the horizontal one takes columns; older versions never do.
inline bool vertical_pass_first(ImageView image, Index height, Index width) {
  return height < image.height() && image.height() - height > 2 * (image.width() - width);
}

}  // namespace detail

/// The part `window` of the image resized to height x width, without computing the rest: a strip of one pixel's
/// width may become very tall, and only its centre is wanted. Throws Error when the window is not inside.
inline Image resize_window(ImageView image, Index height, Index width, const ImageWindow& window,
                           Interpolation interpolation) {
  detail::check_window(window, height, width);
  const bool same_height = height == image.height();
  const bool same_width = width == image.width();
  if (same_height && same_width) return detail::copy_window(image, window);
  detail::AxisFilter horizontal(image.width(), width, window.left, window.width, interpolation);
  if (same_height) return detail::filter_rows(image, window.top, window.height, horizontal);
  detail::AxisFilter vertical(image.height(), height, window.top, window.height, interpolation);
  if (same_width) return detail::filter_columns(image, window.left, window.width, vertical);
  if (detail::vertical_pass_first(image, height, width)) {
    const Image lower = detail::filter_columns(image, horizontal.first_input(), horizontal.inputs(), vertical);
    horizontal.count_from_first_input();
    return detail::filter_rows(lower, 0, window.height, horizontal);
  }
  const Image narrower = detail::filter_rows(image, vertical.first_input(), vertical.inputs(), horizontal);
  vertical.count_from_first_input();
  return detail::filter_columns(narrower, 0, window.width, vertical);
}

/// The image resized to height x width, byte for byte what Pillow's Image.resize gives for modes L and RGB.
inline Image resize(ImageView image, Index height, Index width, Interpolation interpolation) {
  return resize_window(image, height, width, {0, 0, height, width}, interpolation);
}

}  // namespace moevit
