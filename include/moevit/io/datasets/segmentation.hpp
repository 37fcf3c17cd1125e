/// Images with a class for every pixel. Component `image`.
#pragma once

#include <moevit/io/datasets/instances.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

struct SegmentationOptions {
  std::string split = "train";
  std::vector<std::string> class_names;  ///< by the number in the masks; as many as there are classes
  std::uint8_t ignored = 255;  ///< of pixels that count nowhere; may be the number of a class, which then is none
  ImageLimits limits = {};
};

/// Images and their masks, opened when they are read. label() is -1.
class SegmentationDataset : public Dataset {
 public:
  /// The images of <root>/<split>/images with the masks of the same names in <root>/<split>/masks, sorted by name. A
  /// mask is a PNG whose pixels are class numbers, grey or with a palette (see load_class_map). Throws Error, naming
  /// the folder or file, when an image has no mask or a mask no image, and when there is none.
  static SegmentationDataset of_folders(const std::filesystem::path& root, SegmentationOptions options) {
    const auto images = root / options.split / "images", masks = root / options.split / "masks";
    SegmentationDataset dataset(std::move(options));
    std::set<std::filesystem::path> known;
    for (const auto& entry : sorted_entries(images)) {
      if (!is_image_name(entry)) {
        dataset.skipped_.push_back(entry.string());
        continue;
      }
      const auto mask = masks / (entry.stem().string() + ".png");
      if (!std::filesystem::exists(mask)) fail(entry.string(), ": its mask ", mask.string(), " does not exist");
      if (!known.insert(mask).second) fail(entry.string(), ": another image has the same mask ", mask.string());
      dataset.files_.push_back({entry, mask, false});
    }
    if (dataset.files_.empty()) fail(images.string(), ": no image in it");
    for (const auto& entry : sorted_entries(masks))
      if (!known.contains(entry)) fail(entry.string(), ": is the mask of no image in ", images.string());
    return dataset;
  }

  /// The images of list_instance_images; pixels of objects have class 1, others class 0.
  static SegmentationDataset of_instances(const std::filesystem::path& root, const std::string& split,
                                          const std::string& class_name, const ImageLimits& limits = {}) {
    SegmentationDataset dataset({split, {"background", class_name}, 255, limits});
    for (const InstanceImage& image : list_instance_images(root, split))
      dataset.files_.push_back({image.image, image.map, true});
    return dataset;
  }

  /// Puts the images of another set behind these, such as those of a validation split. Throws Error unless both have
  /// the same classes and ignored pixels.
  void append(const SegmentationDataset& other) {
    if (other.class_names_ != class_names_ || other.ignored() != ignored())
      fail("segmentation: expected a set with the same ", classes(), " classes and ignored pixels to append");
    files_.insert(files_.end(), other.files_.begin(), other.files_.end());
    skipped_.insert(skipped_.end(), other.skipped_.begin(), other.skipped_.end());
  }

  Index size() const override { return std::ssize(files_); }
  Image pixels(Index image) const override { return load_image(files_[position(image)].image, options_.limits); }
  std::string name(Index image) const override { return files_[position(image)].image.string(); }
  Index label(Index image) const override { return position(image), -1; }

  Index classes() const { return std::ssize(options_.class_names); }
  std::uint8_t ignored() const { return options_.ignored; }

  /// Class numbers of the pixels of an image, one channel: below classes(), or ignored().
  /// Throws Error, naming the mask, when it cannot be read or has a pixel of another number.
  Image mask(Index image) const {
    const Files& files = files_[position(image)];
    if (files.is_instances) return foreground_of(load_number_map(files.mask, options_.limits));
    Image mask = load_class_map(files.mask, options_.limits);
    const auto pixels = mask.pixels();
    const auto wrong = std::find_if(pixels.begin(), pixels.end(), [&](std::uint8_t number) {
      return number >= classes() && number != options_.ignored;
    });
    if (wrong != pixels.end()) {
      const Index place = wrong - pixels.begin();
      fail(files.mask.string(), ": row ", place / mask.width(), ", column ", place % mask.width(),
           ": expected a class from 0 to ", classes() - 1, " or ", options_.ignored, ", which is ignored, found ",
           *wrong);
    }
    return mask;
  }

  /// Both. Throws Error as pixels() and mask(), and when their sizes differ.
  std::pair<Image, Image> pixels_and_mask(Index image) const {
    std::pair<Image, Image> both{pixels(image), mask(image)};
    if (both.first.height() != both.second.height() || both.first.width() != both.second.width())
      fail(files_[position(image)].mask.string(), ": expected a mask of ", both.first.width(), " x ",
           both.first.height(), " pixels, as the image has, found ", both.second.width(), " x ", both.second.height());
    return both;
  }

 private:
  struct Files {
    std::filesystem::path image, mask;
    bool is_instances;  // rather than class numbers
  };

  explicit SegmentationDataset(SegmentationOptions options) : options_(std::move(options)) {
    if (options_.class_names.empty() || options_.class_names.size() > 256)
      fail("segmentation: expected names of 1 to 256 classes, found ", options_.class_names.size());
    class_names_ = options_.class_names;
  }

  SegmentationOptions options_;
  std::vector<Files> files_;
};

}  // namespace moevit
