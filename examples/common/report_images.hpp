/// The images that a routing report shows, collected while they pass through the model.
#pragma once

#include "any_model.hpp"
#include "image_list.hpp"
#include "run.hpp"

#include <moevit/io/report/report_data.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// Normalised floats back to bytes: x * deviation + mean, rounded.
inline moevit::Image to_pixels(std::span<const float> values, const moevit::Preprocessing& preprocessing) {
  moevit::Image image(preprocessing.height, preprocessing.width, preprocessing.channels);
  const auto channels = static_cast<std::size_t>(preprocessing.channels);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t channel = i % channels;
    const float mean = preprocessing.mean[std::min(channel, preprocessing.mean.size() - 1)];
    const float deviation = preprocessing.deviation[std::min(channel, preprocessing.deviation.size() - 1)];
    image.row(0)[i] =
        static_cast<std::uint8_t>(std::lround(255.f * std::clamp(values[i] * deviation + mean, 0.f, 1.f)));
  }
  return image;
}

/// A choice of images, in the order of their classes, and what was seen of them.
class ReportImages {
 public:
  /// Takes `count` of the images: the first of every class, then the second, ...; without labels the first ones.
  ReportImages(const ImageList& images, moevit::Index count, moevit::Index classes) {
    std::vector<std::vector<moevit::Index>> by_class(static_cast<std::size_t>(classes) + 1);  // the last: no label
    for (moevit::Index i = 0; i < images.size(); ++i) {
      const moevit::Index label = images.label(i);
      by_class[static_cast<std::size_t>(label < 0 ? classes : label)].push_back(i);
    }
    std::vector<std::pair<moevit::Index, moevit::Index>> chosen;  // class, image
    const auto wanted = std::min(count, images.size());
    for (std::size_t round = 0; std::ssize(chosen) < wanted; ++round)
      for (std::size_t label = 0; label < by_class.size() && std::ssize(chosen) < wanted; ++label)
        if (round < by_class[label].size())
          chosen.emplace_back(static_cast<moevit::Index>(label), by_class[label][round]);
    std::sort(chosen.begin(), chosen.end());
    for (const auto& [label, image] : chosen) order_.push_back(image);
  }

  /// Notes image number `i` of the pass if it is one to be shown.
  void see(const Pass& pass, std::size_t i, const std::string& caption, bool correct, const AnyModel& model) {
    const moevit::Index image = pass.images[i];
    if (std::find(order_.begin(), order_.end(), image) == order_.end()) return;
    const std::size_t values = pass.pixels.size() / pass.images.size();
    moevit::ReportImage shown{
        to_pixels(pass.pixels.subspan(i * values, values), model.preprocessing()), caption, correct, {}, {}};
    const moevit::Routing* last = nullptr;
    for (int block = 0; block < pass.context.depth(); ++block) {
      if (!pass.context.is_sparse(block) || last == &pass.context.routing_of(block)) continue;
      last = &pass.context.routing_of(block);
      shown.routing.push_back(moevit::report::patch_routing(pass.context, block, static_cast<moevit::Index>(i),
                                                            std::ssize(pass.images), model.description().vit));
    }
    seen_.emplace(image, std::move(shown));
  }

  /// Notes the patches that the images to be shown lost in this pass.
  void see_dropped(const Pass& pass, const std::string& setting, int block, const moevit::VitConfig& vit) {
    for (std::size_t i = 0; i < pass.images.size(); ++i) {
      const auto found = seen_.find(pass.images[i]);
      if (found == seen_.end()) continue;
      auto routing = moevit::report::patch_routing(pass.context, block, static_cast<moevit::Index>(i),
                                                   std::ssize(pass.images), vit);
      found->second.dropped.push_back({setting, std::move(routing.dropped)});
    }
  }

  /// The images that were seen, in order.
  std::vector<moevit::ReportImage> take() {
    std::vector<moevit::ReportImage> result;
    for (const moevit::Index image : order_)
      if (const auto found = seen_.find(image); found != seen_.end()) result.push_back(std::move(found->second));
    return result;
  }

 private:
  std::vector<moevit::Index> order_;
  std::map<moevit::Index, moevit::ReportImage> seen_;
};

}  // namespace examples
