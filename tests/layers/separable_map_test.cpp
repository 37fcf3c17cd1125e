/// Resizing and pooling of maps.
#include "layers/map_test.hpp"

#include <moevit/layers/map_pooling.hpp>
#include <moevit/layers/resize_map.hpp>

using namespace moevit;
using reference::Maps;

namespace {

using Function = void (*)(ConstMatrixView, MapSize, Index, MatrixView, MapSize, Workspace&);

struct Sizes {
  MapSize from, to;
};
constexpr Sizes sizes[] = {{{5, 7}, {5, 7}}, {{5, 7}, {20, 28}}, {{12, 9}, {5, 4}}, {{1, 1}, {6, 3}},
                           {{9, 1}, {1, 1}}, {{3, 4}, {7, 11}},  {{14, 14}, {6, 6}}};

constexpr Index channels = 11;

std::vector<float> run(Function function, std::span<const float> x, MapSize from, Index images, MapSize to) {
  return test::run_with_threads({}, [&](Workspace& workspace) {
    std::vector<float> y(static_cast<std::size_t>(images * to.places() * channels), 77.f);
    function({x.data(), images * from.places(), channels}, from, images, {y.data(), images * to.places(), channels}, to,
             workspace);
    return y;
  });
}

/// A map and its transpose: y . cotangent = x . dx exactly but for rounding, as both are linear.
void check_adjoint(Function forward, Function backward, const Sizes& size) {
  constexpr Index images = 2;
  const std::vector<float> x = test::normal_values(images * size.from.places() * channels, 1),
                           dy = test::normal_values(images * size.to.places() * channels, 2);
  const std::vector<float> y = run(forward, x, size.from, images, size.to);
  const std::vector<float> dx = run(backward, dy, size.to, images, size.from);
  CHECK(test::weighted_sum(y, dy) == Approx(test::weighted_sum(dx, x)).margin(1e-3));
  // One place after the other, so that no gradient can stand at a wrong place.
  std::vector<float> one(static_cast<std::size_t>(size.from.places() * channels));
  for (Index place = 0; place < size.from.places(); ++place) {
    const auto at = static_cast<std::size_t>(place * channels);
    std::fill(one.begin(), one.end(), 0.f);
    one[at] = 1.f;
    CHECK(test::weighted_sum(run(forward, one, size.from, 1, size.to),
                             std::span(dy).first(static_cast<std::size_t>(size.to.places() * channels))) ==
          Approx(dx[at]).margin(1e-5));
  }
}

double interpolated(const Maps& x, Index image, double row, double column, Index channel) {
  const auto clamped = [](double at, Index extent) { return std::clamp(at, 0., static_cast<double>(extent - 1)); };
  row = clamped(row, x.size.height), column = clamped(column, x.size.width);
  double sum = 0.;
  for (Index r = 0; r < x.size.height; ++r)
    for (Index c = 0; c < x.size.width; ++c)
      sum += std::max(0., 1. - std::abs(row - static_cast<double>(r))) *
             std::max(0., 1. - std::abs(column - static_cast<double>(c))) * x.padded(image, r, c, channel);
  return sum;
}

double mean_of(const Maps& x, Index image, const Sizes& size, Index row, Index column, Index channel) {
  double sum = 0., count = 0.;
  for (Index r = 0; r < x.size.height; ++r)
    for (Index c = 0; c < x.size.width; ++c) {
      // Place r overlaps the interval [row, row + 1) * source / result.
      const bool meets_row =
          r * size.to.height < (row + 1) * size.from.height && (r + 1) * size.to.height > row * size.from.height;
      const bool meets_column =
          c * size.to.width < (column + 1) * size.from.width && (c + 1) * size.to.width > column * size.from.width;
      if (meets_row && meets_column) sum += x.padded(image, r, c, channel), count += 1.;
    }
  return sum / count;
}

template <class Expected>
void check_forward(Function function, const Sizes& size, Expected expected) {
  for (const Index images : {0, 1, 3}) {
    const std::vector<float> x = test::normal_values(images * size.from.places() * channels, 1);
    const Maps source(images, size.from, channels, x);
    const std::vector<float> y = run(function, x, size.from, images, size.to);
    std::size_t i = 0;
    for (Index image = 0; image < images; ++image)
      for (Index row = 0; row < size.to.height; ++row)
        for (Index column = 0; column < size.to.width; ++column)
          for (Index channel = 0; channel < channels; ++channel)
            CHECK(y[i++] == Approx(expected(source, image, row, column, channel)).margin(3e-6));
  }
}

}  // namespace

TEST_CASE("Bilinear resizing agrees with plain loops, its gradient with its adjoint") {
  for (const Sizes& size : sizes) {
    CAPTURE(size.from.height, size.from.width, size.to.height, size.to.width);
    const auto at = [](Index result, Index from, Index to) {
      return (static_cast<double>(result) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    };
    check_forward(resize_map, size, [&](const Maps& x, Index image, Index row, Index column, Index channel) {
      return interpolated(x, image, at(row, size.from.height, size.to.height),
                          at(column, size.from.width, size.to.width), channel);
    });
    check_adjoint(resize_map, resize_map_backward, size);
  }
}

TEST_CASE("Adaptive pooling agrees with plain loops, its gradient with its adjoint") {
  for (const Sizes& size : sizes) {
    CAPTURE(size.from.height, size.from.width, size.to.height, size.to.width);
    check_forward(pool_map, size, [&](const Maps& x, Index image, Index row, Index column, Index channel) {
      return mean_of(x, image, size, row, column, channel);
    });
    check_adjoint(pool_map, pool_map_backward, size);
  }
}

TEST_CASE("Maps without places are refused") {
  Workspace workspace({});
  float value = 0.f;
  const MatrixView one(&value, 1, 1), none(&value, 0, 1);
  CHECK_THROWS_WITH(resize_map(none, {0, 3}, 1, one, {1, 1}, workspace), Catch::Contains("expected at least 1 place"));
  CHECK_THROWS_WITH(pool_map(none, {0, 3}, 1, one, {1, 1}, workspace), Catch::Contains("expected at least 1 place"));
  CHECK_THROWS_WITH(pool_map(one, {1, 1}, 1, none, {1, 0}, workspace), Catch::Contains("1 result"));
}
