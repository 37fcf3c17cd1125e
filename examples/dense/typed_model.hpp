/// Segmenters and detectors with their types; included by the files that compile them.
#pragma once

#include "dense/attempts.hpp"
#include "downstream/models.hpp"

#include <string>
#include <utility>
#include <vector>

namespace examples::dense {

/// Base for one model type.
template <class Base, class Net>
class Holder : public Base {
 public:
  const moevit::Preprocessing& preprocessing() const override {
    return net_.visit([](const auto& net) -> const auto& { return net.preprocessing(); });
  }
  std::vector<std::string> class_names() const override {
    if (const auto& names = own_class_names(); !names.empty()) return names;
    std::vector<std::string> numbers;
    for (Index number = 0; number < Net::classes; ++number) numbers.push_back(std::to_string(number));
    return numbers;
  }
  moevit::Context context(moevit::ContextOptions options, MapSize largest) const override {
    return net_.visit([&](const auto& net) { return net.context(options, largest); });
  }
  std::vector<moevit::RegionBlock> sparse_blocks() const override { return moevit::region_blocks<Net>(); }
  std::vector<moevit::BlockRegions> regions(const moevit::Context& context, MapSize size) const override {
    return moevit::region_routing<Net>(context, size, 0, 1);
  }
  void load(const moevit::TensorFile& file) override {
    net_.load(file);
    const auto names = std::ssize(own_class_names());
    if (names != 0 && names != Net::classes)
      moevit::fail(file.path().string(), ": expected the names of ", Net::classes, " classes, found ", names);
  }

  void pack(Precision precision) override { net_.pack(precision); }

 protected:
  InPrecision<Net> net_;

 private:
  const std::vector<std::string>& own_class_names() const {
    return net_.visit([](const auto& net) -> const auto& { return net.class_names(); });
  }
};

template <class Net>
class SegmenterHolder final : public Holder<Segmenter, Net> {
 public:
  Index classes() const override { return Net::classes; }
  void segment(std::span<const float> image, MapSize size, std::span<float> logits, moevit::Context& context,
               const std::optional<moevit::SlidingWindow>& windows) const override {
    this->net_.visit([&](const auto& net) {
      if (windows)
        net.segment(image, size, logits, context, *windows);
      else
        net.segment(image, size, logits, context);
    });
  }
};

template <class Net>
class DetectorHolder final : public Holder<Detector, Net> {
 public:
  std::vector<moevit::Detection> detect(std::span<const float> image, MapSize size, moevit::Context& context,
                                        const moevit::DetectionOptions& options) const override {
    return this->net_.visit(
        [&](const auto& net) { return std::move(net.detect(image, size, context, options).at(0)); });
  }
};

/// Tries the dense and the sparse model of a task.
template <template <class> class HolderOf, downstream::Backbone backbone, downstream::Task task, class Kind>
void try_task(Attempts<Kind>& attempts) {
  attempts.template try_type<HolderOf<downstream::Net<backbone, task, false>>>();
  attempts.template try_type<HolderOf<downstream::Net<backbone, task, true>>>();
}

template <downstream::Backbone backbone>
void try_tasks(Attempts<Segmenter>& attempts) {
  try_task<SegmenterHolder, backbone, downstream::Task::nuclei_masks>(attempts);
  try_task<SegmenterHolder, backbone, downstream::Task::camvid>(attempts);
}
template <downstream::Backbone backbone>
void try_tasks(Attempts<Detector>& attempts) {
  try_task<DetectorHolder, backbone, downstream::Task::nuclei_boxes>(attempts);
  try_task<DetectorHolder, backbone, downstream::Task::bccd>(attempts);
}

}  // namespace examples::dense
