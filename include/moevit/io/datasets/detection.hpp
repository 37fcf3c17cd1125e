/// Images with boxes around the objects in them: what every reader of annotations gives. Component `image`.
#pragma once

#include <moevit/io/datasets/class_folder.hpp>
#include <moevit/models/boxes.hpp>

#include <cmath>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

/// An image and what is in it; boxes lie within the image.
struct AnnotatedImage {
  std::filesystem::path path;
  Index height = 0;
  Index width = 0;
  std::vector<TrueBox> objects;
};

/// What a reader found in the annotations.
struct AnnotationCounts {
  Index objects = 0;       ///< in the files, those included that were left out
  Index degenerate = 0;    ///< left out: no width or no height, or less than that
  Index outside = 0;       ///< left out: nothing of the box lies in the image
  Index clipped = 0;       ///< kept as far as they lie in the image, which they leave by more than half a pixel
  Index empty_images = 0;  ///< in which nothing was kept

  bool operator==(const AnnotationCounts&) const = default;
  AnnotationCounts& operator+=(const AnnotationCounts& other) {
    objects += other.objects, degenerate += other.degenerate, outside += other.outside, clipped += other.clipped;
    empty_images += other.empty_images;
    return *this;
  }
};

/// Annotations of a set of images.
struct DetectionAnnotations {
  static constexpr Index most_warnings = 100;

  std::vector<AnnotatedImage> images;
  std::vector<std::string> class_names;  ///< by category
  AnnotationCounts counts;
  /// What was left out or cut, and where it stands, for a program to print; the first 100 of them.
  std::vector<std::string> warnings;
};

/// Puts the images of another set behind these, such as those of a validation split. Throws Error unless both have the
/// same classes.
inline void append(DetectionAnnotations& annotations, DetectionAnnotations more) {
  if (more.class_names != annotations.class_names)
    fail("detection: expected annotations with the same ", annotations.class_names.size(), " classes to append");
  std::move(more.images.begin(), more.images.end(), std::back_inserter(annotations.images));
  annotations.counts += more.counts;
  for (std::string& warning : more.warnings)
    if (std::ssize(annotations.warnings) < DetectionAnnotations::most_warnings)
      annotations.warnings.push_back(std::move(warning));
}

namespace detail {

/// Puts annotations together as a reader comes upon them.
class AnnotationBuilder {
 public:
  explicit AnnotationBuilder(std::vector<std::string> class_names = {}) {
    result_.class_names = std::move(class_names);
  }

  /// Objects that follow are in this image. Throws Error when there is no such file, or no pixels in it.
  void begin_image(const std::filesystem::path& path, Index height, Index width, std::string_view where) {
    if (!std::filesystem::is_regular_file(path)) fail(where, ": its image ", path.string(), " does not exist");
    check_image_size(height, width, {}, where);
    result_.images.push_back({path, height, width, {}});
  }

  /// An object of the last image; where() names its place in the file. Throws Error when a number is not finite.
  template <class Where>
  void add(TrueBox object, Where where) {
    AnnotatedImage& image = result_.images.back();
    const Box& box = object.box;
    if (!std::isfinite(box.right()) || !std::isfinite(box.bottom()) || !std::isfinite(object.area))
      fail(where(), ": a box or area without finite numbers");
    ++result_.counts.objects;
    if (!(box.width > 0 && box.height > 0)) {
      ++result_.counts.degenerate;
      return warn(where, "left out: no area", box, image);
    }
    const Box inside = intersection(box, {0, 0, static_cast<double>(image.width), static_cast<double>(image.height)});
    if (inside.area() == 0) {
      ++result_.counts.outside;
      return warn(where, "left out: outside of the image", box, image);
    }
    if (leaves(box, image)) {
      ++result_.counts.clipped;
      warn(where, "cut: leaves the image", box, image);
    }
    object.area *= inside.area() / box.area();
    object.box = inside;
    image.objects.push_back(object);
  }

  DetectionAnnotations finish() && {
    for (const AnnotatedImage& image : result_.images) result_.counts.empty_images += image.objects.empty() ? 1 : 0;
    return std::move(result_);
  }

 private:
  /// By more than what rounding does to numbers in files.
  static bool leaves(const Box& box, const AnnotatedImage& image) {
    return box.x < -0.5 || box.y < -0.5 || box.right() > static_cast<double>(image.width) + 0.5 ||
           box.bottom() > static_cast<double>(image.height) + 0.5;
  }

  template <class Where>
  void warn(Where where, std::string_view what, const Box& box, const AnnotatedImage& image) {
    if (std::ssize(result_.warnings) >= DetectionAnnotations::most_warnings) return;
    result_.warnings.push_back(message_of(where(), ": ", what, ": x ", box.x, ", y ", box.y, ", width ", box.width,
                                          ", height ", box.height, " in ", image.width, " x ", image.height,
                                          " pixels"));
  }

  DetectionAnnotations result_;
};

/// The image file of this name without its ending, which no annotation gives. Throws Error, naming `where`, when there
/// is none, and when the name leads out of the folder.
inline std::filesystem::path find_image(const std::filesystem::path& folder, const std::string& name,
                                        std::string_view where) {
  if (name.empty() || std::filesystem::path(name).filename().string() != name || name == "..")
    fail(where, ": expected the name of an image without a folder, found '", name, "'");
  for (const char* ending : image_endings)
    if (const auto path = folder / (name + ending); std::filesystem::exists(path)) return path;
  fail(where, ": there is no image ", (folder / name).string(), " with .jpg, .png or another known ending");
}

}  // namespace detail

/// Annotated images as a data set, opened when they are read. label() is -1.
class DetectionDataset : public Dataset {
 public:
  explicit DetectionDataset(DetectionAnnotations annotations, const ImageLimits& limits = {})
      : annotations_(std::move(annotations)), limits_(limits) {
    class_names_ = annotations_.class_names;
  }

  Index size() const override { return std::ssize(annotations_.images); }

  /// Throws Error as load_image, and when the image has another size than its annotation says.
  Image pixels(Index number) const override {
    const AnnotatedImage& image = annotated(number);
    Image pixels = load_image(image.path, limits_);
    if (pixels.height() != image.height || pixels.width() != image.width)
      fail(image.path.string(), ": expected ", image.width, " x ", image.height,
           " pixels, as its annotation says, found ", pixels.width(), " x ", pixels.height());
    return pixels;
  }
  std::string name(Index image) const override { return annotated(image).path.string(); }
  Index label(Index image) const override { return position(image), -1; }

  /// What is in the image, boxes in its pixels.
  std::span<const TrueBox> objects(Index image) const { return annotated(image).objects; }
  const DetectionAnnotations& annotations() const { return annotations_; }

 private:
  const AnnotatedImage& annotated(Index image) const { return annotations_.images[position(image)]; }

  DetectionAnnotations annotations_;
  ImageLimits limits_;
};

}  // namespace moevit
