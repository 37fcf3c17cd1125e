/// Writes what a model says about pixels as one HTML page, with all pictures inside it. Component `image`.
#pragma once

#include <moevit/io/atomic_file.hpp>
#include <moevit/io/report/dense_pictures.hpp>
#include <moevit/io/report/page.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// An image with a class for every pixel. Masks have one channel and the image's size.
struct SegmentedImage {
  std::string name;
  Image pixels;
  Image prediction;
  std::optional<Image> truth = {};
};

/// What a page of segmentations shows.
struct SegmentationReport {
  std::string title;
  std::vector<std::string> class_names;  ///< by the numbers in the masks; as many as there are classes
  std::uint8_t ignored = 255;
  std::vector<SegmentedImage> images = {};
};

/// An image and the boxes in it, in its pixels.
struct DetectedImage {
  std::string name;
  Image pixels;
  std::vector<Detection> detections;
  std::vector<TrueBox> truth = {};
};

/// What a page of detections shows.
struct DetectionReport {
  std::string title;
  std::vector<std::string> class_names;  ///< by category; as many as there are classes
  std::vector<DetectedImage> images = {};
};

namespace report {

/// The page with its heading and the colours of the classes. Throws Error when there is no class.
inline Page open_dense_page(const std::string& title, const std::vector<std::string>& names,
                            std::vector<std::string> more_entries) {
  if (names.empty()) fail("report '", title, "': expected the names of its classes, found none");
  Page page(title);
  page.add(join("<h1>", escape(title), "</h1>"));
  std::vector<std::string> entries;
  for (Index number = 0; number < std::ssize(names); ++number)
    entries.push_back(legend_entry(css(colour_of(number, std::ssize(names))), class_text(number, names)));
  entries.insert(entries.end(), more_entries.begin(), more_entries.end());
  page.add(legend(entries));
  return page;
}

}  // namespace report

/// The page as HTML. Throws Error when there are no classes, a mask has not the size of its image or a number of no
/// class, and when pixels cannot be encoded.
inline std::string segmentation_report_html(const SegmentationReport& report) {
  const Index classes = std::ssize(report.class_names);
  report::Page page = report::open_dense_page(report.title, report.class_names,
                                              {report::legend_entry("#000", "ignored: dimmed in the pictures")});
  for (const SegmentedImage& image : report.images) {
    page.add(report::join("<h2>", report::escape(image.name), "</h2>"));
    page.open_cards();
    page.card("image", report::image_picture(image.pixels, "image"));
    const auto add_classes = [&](const char* heading, const Image& mask) {
      page.card(heading,
                report::image_picture(report::class_overlay(image.pixels, mask, classes, report.ignored), heading));
    };
    add_classes("predicted classes", image.prediction);
    if (image.truth) add_classes("true classes", *image.truth);
    page.close_cards();
  }
  return std::move(page).finish();
}

/// The page as HTML. Throws Error when there are no classes, for boxes of other classes and scores that are not
/// numbers, and when pixels cannot be encoded.
inline std::string detection_report_html(const DetectionReport& report) {
  report::Page page = report::open_dense_page(report.title, report.class_names, {});
  page.add("<p>Solid boxes are detections, with their scores; dashed boxes are what is there.</p>");
  for (const DetectedImage& image : report.images) {
    page.open_cards();
    page.card(image.name, report::boxes_picture(image.pixels, image.detections, image.truth,
                                                std::ssize(report.class_names), report.class_names, image.name));
    page.close_cards();
  }
  return std::move(page).finish();
}

/// Writes a page; the file appears whole or not at all. Throws Error.
inline void write_segmentation_report(const std::filesystem::path& path, const SegmentationReport& report) {
  write_file(path, segmentation_report_html(report));
}
inline void write_detection_report(const std::filesystem::path& path, const DetectionReport& report) {
  write_file(path, detection_report_html(report));
}

}  // namespace moevit
