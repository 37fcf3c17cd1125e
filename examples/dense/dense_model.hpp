/// Segmenters and detectors whose types are not known until a file is opened: the calls that segment and detect make.
#pragma once

#include "common/in_precision.hpp"

#include <moevit/core/map_size.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/io/report/region_routing.hpp>
#include <moevit/io/tensor_file.hpp>
#include <moevit/models/boxes.hpp>
#include <moevit/models/fcos_decoding.hpp>
#include <moevit/models/sliding_window.hpp>
#include <moevit/moe/context.hpp>

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace examples::dense {

using moevit::Index;
using moevit::MapSize;

/// What both have.
class DenseModel {
 public:
  virtual ~DenseModel() = default;
  virtual const moevit::Preprocessing& preprocessing() const = 0;
  /// Names of all classes; their numbers where the file has none.
  virtual std::vector<std::string> class_names() const = 0;
  virtual moevit::Context context(moevit::ContextOptions options, MapSize largest) const = 0;
  virtual std::vector<moevit::RegionBlock> sparse_blocks() const = 0;
  /// What the sparse blocks did in the last pass of the context, over one image of this size.
  virtual std::vector<moevit::BlockRegions> regions(const moevit::Context& context, MapSize size) const = 0;
  /// See InPrecision.
  virtual void load(const moevit::TensorFile& file) = 0;
  virtual void pack(Precision precision) = 0;
};

class Segmenter : public DenseModel {
 public:
  virtual Index classes() const = 0;
  /// logits[height x width x classes] of one normalised image, by windows where they are given.
  virtual void segment(std::span<const float> image, MapSize size, std::span<float> logits, moevit::Context& context,
                       const std::optional<moevit::SlidingWindow>& windows) const = 0;
};

class Detector : public DenseModel {
 public:
  /// What is in one normalised image, best first; boxes in its pixels.
  virtual std::vector<moevit::Detection> detect(std::span<const float> image, MapSize size, moevit::Context& context,
                                                const moevit::DetectionOptions& options) const = 0;
};

}  // namespace examples::dense
