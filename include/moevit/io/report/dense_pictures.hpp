/// Pictures of what a model says about the pixels of an image: classes laid over it, boxes drawn into it.
#pragma once

#include <moevit/io/report/markup.hpp>
#include <moevit/io/report/palette.hpp>
#include <moevit/io/report/png_data_uri.hpp>
#include <moevit/models/boxes.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit::report {

/// A class as readers see it: its name, cut where it is long and escaped, or its number when it has none.
inline std::string class_text(Index number, const std::vector<std::string>& names) {
  const auto i = static_cast<std::size_t>(number);
  return i < names.size() ? shortened(names[i], 24) : std::to_string(number);
}

/// The image as RGB with the colours of the pixels' classes over it, `strength` (0 to 1) of them; ignored pixels are
/// dimmed. `mask`: class numbers, one channel, below `classes` or `ignored`.
/// Throws Error when image and mask differ in size, and for a number of no class.
inline Image class_overlay(ImageView image, ImageView mask, Index classes, std::uint8_t ignored,
                           double strength = 0.6) {
  if (mask.channels() != 1 || mask.height() != image.height() || mask.width() != image.width())
    fail("picture of classes: expected a mask of ", image.width(), " x ", image.height(), " numbers, found ",
         mask.width(), " x ", mask.height(), " x ", mask.channels());
  std::vector<Rgb> colours;
  for (Index number = 0; number < classes; ++number) colours.push_back(colour_of(number, classes));
  Image result(image.height(), image.width(), 3);
  const Index grey = image.channels() == 1 ? 0 : 1;  // a grey pixel is read again for every channel
  for (Index y = 0; y < image.height(); ++y)
    for (Index x = 0; x < image.width(); ++x) {
      const std::uint8_t number = mask.row(y)[x];
      if (number >= classes && number != ignored)
        fail("picture of classes: row ", y, ", column ", x, ": expected a class below ", classes, ", found ", number);
      const Rgb colour = number == ignored ? Rgb{} : colours[number];
      const std::uint8_t* from = image.row(y) + x * image.channels();
      for (Index channel = 0; channel < 3; ++channel)
        result.row(y)[3 * x + channel] = static_cast<std::uint8_t>(
            std::lround((1 - strength) * from[channel * grey] + strength * colour[static_cast<std::size_t>(channel)]));
    }
  return result;
}

/// How many times larger an image is drawn than it is, so that small ones can be seen and large ones fit.
inline double picture_scale(ImageView image) {
  constexpr double wanted = 480;
  const double scale = wanted / static_cast<double>(std::max(image.height(), image.width()));
  return scale > 1 ? std::min(std::floor(scale), 4.) : scale;
}

/// A drawing with the image in it, `scale` times as large.
inline Drawing draw_image(const Image& image, double scale, std::string_view label) {
  const double width = scale * static_cast<double>(image.width()), height = scale * static_cast<double>(image.height());
  Drawing drawing(width, height, label);
  drawing.add(image_element(png_data_uri(image), width, height));
  return drawing;
}

/// An image as it is.
inline std::string image_picture(const Image& image, std::string_view label) {
  return draw_image(image, picture_scale(image), label).finish();
}

/// An image with boxes: detections with class and score at the top (worst first, so that the best lie over the others),
/// true boxes dashed with the class alone at the bottom. Throws Error for categories outside of 0 .. classes - 1, and
/// scores that are not numbers.
inline std::string boxes_picture(const Image& image, std::span<const Detection> detections,
                                 std::span<const TrueBox> truth, Index classes, const std::vector<std::string>& names,
                                 std::string_view label) {
  const double scale = picture_scale(image);
  Drawing boxes = draw_image(image, scale, label);
  std::string texts;
  const auto draw = [&](const Box& box, std::int32_t category, std::string_view look, double baseline,
                        const std::string& text) {
    if (category < 0 || category >= classes)
      fail("picture of boxes: expected a class from 0 to ", classes - 1, ", found ", category);
    const std::string colour = css(colour_of(category, classes));
    boxes.rect(scale * box.x, scale * box.y, scale * box.width, scale * box.height,
               join("class=\"", look, "\" stroke=\"", colour, "\""));
    texts += join("<text x=\"", number(scale * box.x + 3), "\" y=\"", number(baseline), "\" style=\"fill:", colour,
                  "\">", text, "</text>");
  };
  for (const TrueBox& object : truth)
    draw(object.box, object.category, "box truth", scale * object.box.bottom() - 4, class_text(object.category, names));
  const std::vector<Index> order = by_score(detections);
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    const Detection& detection = detections[static_cast<std::size_t>(*i)];
    draw(detection.box, detection.category, "box", std::max(scale * detection.box.y, 0.) + 12,
         join(class_text(detection.category, names), " ", percent(detection.score, 0)));
  }
  boxes.add(join("<g class=\"box-names\">", texts, "</g>"));
  return std::move(boxes).finish();
}

}  // namespace moevit::report
