/// Results of detection and segmentation as JSON. Component `io`. All of it are templates, although Json is always the
/// same type, so that programs that do not write them do not compile them.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/image_view.hpp>
#include <moevit/models/boxes.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moevit {
namespace detail {

/// {"class": number, "name": name}; the name is empty when the classes have none.
template <class Json>
Json class_as_json(Index number, const std::vector<std::string>& names) {
  const auto i = static_cast<std::size_t>(number);
  return {{"class", number}, {"name", i < names.size() ? names[i] : std::string()}};
}

}  // namespace detail

/// {"image", "detections": [{"class", "name", "score", "box": [x, y, width, height]}]}, in the order given, boxes in
/// pixels. Throws Error, naming image and detection, for negative classes and for numbers that are not finite, which
/// JSON does not have.
template <class Json = nlohmann::ordered_json>
Json detections_as_json(std::string_view image, std::span<const Detection> detections,
                        const std::vector<std::string>& class_names) {
  Json list = Json::array();
  for (std::size_t i = 0; i < detections.size(); ++i) {
    const auto& [box, category, score] = detections[i];
    if (category < 0 || !std::isfinite(score) || !std::isfinite(box.right()) || !std::isfinite(box.bottom()))
      fail(image, ", detection ", i, ": expected a class from 0 up and finite numbers, found class ", category,
           ", score ", score, ", x ", box.x, ", y ", box.y, ", width ", box.width, ", height ", box.height);
    Json one = detail::class_as_json<Json>(category, class_names);
    one["score"] = score;
    one["box"] = {box.x, box.y, box.width, box.height};
    list.push_back(std::move(one));
  }
  return {{"image", image}, {"detections", std::move(list)}};
}

/// {"image", "height", "width", "ignored_pixels", "classes": [{"class", "name", "pixels", "share"}]}: every class, and
/// its share of the pixels that are not ignored (0 when all are). `mask`: class numbers, one channel. Throws Error,
/// naming the image, for a number of no class.
template <class Json = nlohmann::ordered_json>
Json segmentation_as_json(std::string_view image, ImageView mask, const std::vector<std::string>& class_names,
                          std::uint8_t ignored = 255) {
  if (mask.channels() != 1) fail(image, ": expected a mask of one channel, found ", mask.channels());
  std::vector<Index> pixels(class_names.size());
  Index left_out = 0;
  for (Index y = 0; y < mask.height(); ++y)
    for (Index x = 0; x < mask.width(); ++x) {
      const std::uint8_t number = mask.row(y)[x];
      if (number != ignored && number >= pixels.size())
        fail(image, ": row ", y, ", column ", x, ": expected a class below ", pixels.size(), ", found ", number);
      ++(number == ignored ? left_out : pixels[number]);
    }
  const Index counted = mask.height() * mask.width() - left_out;
  Json classes = Json::array();
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    Json one = detail::class_as_json<Json>(static_cast<Index>(i), class_names);
    one["pixels"] = pixels[i];
    one["share"] = counted == 0 ? 0. : static_cast<double>(pixels[i]) / static_cast<double>(counted);
    classes.push_back(std::move(one));
  }
  return {{"image", image},
          {"height", mask.height()},
          {"width", mask.width()},
          {"ignored_pixels", left_out},
          {"classes", std::move(classes)}};
}

/// The text of results, indented. Names need not be UTF-8; what is not becomes U+FFFD.
template <class Json>
std::string json_text(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace moevit
