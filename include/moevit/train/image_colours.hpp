/// Changes of brightness and colour of 8-bit images, as PIL's ImageOps and ImageEnhance make them.
#pragma once

#include <moevit/io/preprocess.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace moevit {

namespace detail {

/// A new value for each value of a byte.
using ByteTable = std::array<std::uint8_t, 256>;
using ByteHistogram = std::array<Index, 256>;

/// value(y, x, channel) for every byte of an image of this size.
template <class Value>
Image image_of(ImageView like, Value value) {
  Image result(like.height(), like.width(), like.channels());
  for (Index y = 0; y < like.height(); ++y)
    for (Index x = 0; x < like.width(); ++x)
      for (Index channel = 0; channel < like.channels(); ++channel)
        result.row(y)[x * like.channels() + channel] = value(y, x, channel);
  return result;
}

inline std::uint8_t byte_at(ImageView image, Index y, Index x, Index channel) {
  return image.row(y)[x * image.channels() + channel];
}

/// A table of its own for every channel: table(histogram of the channel).
template <class Table>
Image with_tables(ImageView image, Table table) {
  std::array<ByteHistogram, 3> histograms{};
  for (Index y = 0; y < image.height(); ++y)
    for (Index i = 0; i < image.row_bytes(); ++i)
      ++histograms[static_cast<std::size_t>(i % image.channels())][image.row(y)[i]];
  std::array<ByteTable, 3> tables{};
  for (std::size_t channel = 0; channel < static_cast<std::size_t>(image.channels()); ++channel)
    tables[channel] = table(histograms[channel]);
  return image_of(image, [&](Index y, Index x, Index channel) {
    return tables[static_cast<std::size_t>(channel)][byte_at(image, y, x, channel)];
  });
}

template <class Value>
ByteTable byte_table(Value value) {
  ByteTable table{};
  for (std::size_t byte = 0; byte < table.size(); ++byte)
    table[byte] = static_cast<std::uint8_t>(std::clamp<Index>(value(static_cast<Index>(byte)), 0, 255));
  return table;
}

/// base + factor (value - base), rounded down and clipped; base(y, x, channel) is what factor 0 gives. In fixed point
/// with 16 binary places, so that the result does not depend on how a compiler rounds.
template <class Base>
Image blended(ImageView image, double factor, Base base) {
  const auto weight = static_cast<Index>(std::llround(factor * 65536));
  return image_of(image, [&](Index y, Index x, Index channel) {
    const Index from = base(y, x, channel), value = byte_at(image, y, x, channel);
    return static_cast<std::uint8_t>(std::clamp<Index>((65536 * from + weight * (value - from)) >> 16, 0, 255));
  });
}

}  // namespace detail

/// Stretches every channel so that its darkest value becomes 0 and its brightest 255; a channel of one value stays.
inline Image auto_contrast(ImageView image) {
  return detail::with_tables(image, [](const detail::ByteHistogram& histogram) {
    Index low = 0, high = 255;
    while (low < 255 && histogram[static_cast<std::size_t>(low)] == 0) ++low;
    while (high > 0 && histogram[static_cast<std::size_t>(high)] == 0) --high;
    return detail::byte_table([=](Index byte) { return low < high ? 255 * (byte - low) / (high - low) : byte; });
  });
}

/// Gives every channel a histogram that is as even as possible, as PIL's ImageOps.equalize; a channel of one value, or
/// of too few pixels for that, stays.
inline Image equalise(ImageView image) {
  return detail::with_tables(image, [](const detail::ByteHistogram& histogram) {
    Index pixels = 0, brightest = 0;
    for (const Index count : histogram) {
      pixels += count;
      if (count > 0) brightest = count;
    }
    const Index step = (pixels - brightest) / 255;
    Index below = step / 2;
    return detail::byte_table([&](Index byte) {
      if (step == 0) return byte;
      const Index value = below / step;
      below += histogram[static_cast<std::size_t>(byte)];
      return value;
    });
  });
}

/// Values from `threshold` up are turned round: v becomes 255 - v. 256: unchanged.
inline Image solarise(ImageView image, Index threshold) {
  return detail::with_tables(image, [=](const detail::ByteHistogram&) {
    return detail::byte_table([=](Index byte) { return byte < threshold ? byte : 255 - byte; });
  });
}

/// Only the highest `bits` of the 8 bits of a value stay. Throws Error unless that is a number from 0 to 8.
inline Image posterise(ImageView image, int bits) {
  if (bits < 0 || bits > 8) fail("posterise: expected 0 to 8 bits, found ", bits);
  const Index mask = 255 & (0xff00 >> bits);
  return detail::with_tables(
      image, [=](const detail::ByteHistogram&) { return detail::byte_table([=](Index byte) { return byte & mask; }); });
}

/// Saturation: 0 gives grey, 1 the image, more than 1 stronger colours. A grey image stays as it is.
inline Image with_colour(ImageView image, double factor) {
  if (image.channels() == 1) return detail::blended(image, 1, [](Index, Index, Index) { return Index{0}; });
  const Image grey = to_grey(image);
  return detail::blended(image, factor, [&](Index y, Index x, Index) { return Index{grey.row(y)[x]}; });
}

/// Distance from the mean brightness of the image: 0 gives that brightness everywhere, 1 the image.
inline Image with_contrast(ImageView image, double factor) {
  const Image grey =
      image.channels() == 3 ? to_grey(image) : detail::copy_window(image, {0, 0, image.height(), image.width()});
  Index sum = 0;
  for (const std::uint8_t value : grey.pixels()) sum += value;
  const Index pixels = image.height() * image.width(), mean = (2 * sum + pixels) / (2 * pixels);
  return detail::blended(image, factor, [=](Index, Index, Index) { return mean; });
}

/// 0 gives black, 1 the image.
inline Image with_brightness(ImageView image, double factor) {
  return detail::blended(image, factor, [](Index, Index, Index) { return Index{0}; });
}

/// 0 gives the image smoothed over 3 x 3 pixels (the centre counts 5 of 13), 1 the image, more than 1 sharper edges.
/// Pixels at the border stay as they are.
inline Image with_sharpness(ImageView image, double factor) {
  return detail::blended(image, factor, [&](Index y, Index x, Index channel) {
    const Index centre = detail::byte_at(image, y, x, channel);
    if (y == 0 || x == 0 || y == image.height() - 1 || x == image.width() - 1) return centre;
    Index sum = 4 * centre;
    for (Index row = y - 1; row <= y + 1; ++row)
      for (Index column = x - 1; column <= x + 1; ++column) sum += detail::byte_at(image, row, column, channel);
    return (2 * sum + 13) / 26;
  });
}

}  // namespace moevit
