// Multiply-adds of heads against their kernels times the places where each is applied; parameters against the model's.
#include "catch.hpp"
#include "models/small_dense_models.hpp"

#include <moevit/models/dense_counts.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

bool begins(const std::string& name, const std::string& part) { return name.starts_with("head." + part); }
std::size_t level_in(const std::string& name, const std::string& part) {
  return static_cast<std::size_t>(std::stoll(name.substr(("head." + part).size())));
}

/// Sums kernel elements times places_of(name of the kernel).
template <class Net, class PlacesOf>
Index counted(const Net& net, PlacesOf places_of) {
  Index count = 0;
  for (const ConstParameter& parameter : net.parameters())
    if (begins(parameter.name, "") && parameter.name.ends_with(".kernel"))
      count += parameter.size() * places_of(parameter.name);
  return count;
}

Index upernet_multiply_adds(const SmallSegmenter& net, MapSize image) {
  const auto sizes = SmallSegmenter::map_sizes(image);
  return counted(net, [&](const std::string& name) -> Index {
    if (begins(name, "pooling.bottleneck")) return sizes.back().places();
    if (begins(name, "pooling.")) {
      const auto side = static_cast<Index>(level_in(name, "pooling."));
      return side * side;
    }
    for (const char* part : {"lateral.", "smoothing."})
      if (begins(name, part)) return sizes[level_in(name, part)].places();
    return sizes[0].places();  // fusion and classifier
  });
}

Index fcos_multiply_adds(const SmallDetector& net, MapSize image) {
  const auto levels = SmallDetector::levels_of(image);
  Index all = 0;
  for (const FcosLevel& level : levels) all += level.size.places();
  const std::size_t maps = levels.size() - static_cast<std::size_t>(small_fcos.extra_levels);
  return counted(net, [&](const std::string& name) -> Index {
    for (const char* part : {"pyramid.lateral.", "pyramid.smoothing."})
      if (begins(name, part)) return levels[level_in(name, part)].size.places();
    if (begins(name, "pyramid.coarser.")) return levels[maps + level_in(name, "pyramid.coarser.")].size.places();
    return all;  // towers
  });
}

}  // namespace

TEST_CASE("multiply-adds of heads are their kernels times places") {
  const SmallSegmenter segmenter;
  const SmallDetector detector;
  for (const MapSize image : {MapSize{16, 16}, MapSize{13, 22}, MapSize{1, 1}}) {
    CAPTURE(image.height, image.width);
    CHECK(SmallSegmenter::HeadType::multiply_adds(SmallSegmenter::map_sizes(image)) ==
          upernet_multiply_adds(segmenter, image));
    CHECK(SmallDetector::HeadType::multiply_adds(SmallDetector::map_sizes(image)) ==
          fcos_multiply_adds(detector, image));
  }
}

TEST_CASE("a dense model costs its backbone and its head") {
  const SmallSegmenter net;
  constexpr MapSize own{small_backbone.image, small_backbone.image};
  const auto head = static_cast<double>(SmallSegmenter::HeadType::multiply_adds(SmallSegmenter::map_sizes(own)));
  const double backbone = multiply_adds(net.description());  // its output norms leave it without a classifier
  CHECK(dense_multiply_adds(net, own) == backbone + head);
  // Windows are padded to multiples of 3 places: twice the sides cost less than four times as much.
  CHECK(dense_multiply_adds(net, {32, 32}) < 4 * (backbone + head));
  CHECK(dense_multiply_adds(net, {32, 32}) > 3 * (backbone + head));
}

TEST_CASE("parameters of dense models: all, and those of one token's way") {
  const ParameterCounts dense = parameter_counts(SmallSegmenter()), sparse = parameter_counts(SparseSegmenter());
  CHECK(dense.all == dense.active);
  constexpr Index dim = 16, hidden = 32, mlp = 2 * dim * hidden + dim + hidden, router = dim * 3;
  CHECK(sparse.all == dense.all + router + 2 * mlp);  // three experts for one MLP
  CHECK(sparse.active == dense.all + router + mlp);   // two of them
  using Residual = Segmenter<Swin<small_backbone, one_sparse_block, CoreAndResiduals>, small_upernet>;
  const ParameterCounts residual = parameter_counts(Residual());
  CHECK(residual.all == sparse.all + mlp);
  CHECK(residual.active == sparse.active);
}
