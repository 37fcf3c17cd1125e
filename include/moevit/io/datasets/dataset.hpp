/// What every data set offers: numbered images with labels, read in any order.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/core/tensor.hpp>
#include <moevit/io/image_view.hpp>
#include <moevit/io/preprocess.hpp>

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// Images 0 to size() - 1. Nothing changes after construction, so any number of threads may read at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual Index size() const = 0;

  /// Image `image` as it is stored, grey or RGB.
  /// Throws Error, naming the image, when it cannot be read; also when `image` is out of range.
  virtual Image pixels(Index image) const = 0;

  /// The same preprocessed: float_count(target) floats into `out`, rows x columns x channels.
  /// Throws Error as pixels(), and when `out` is too short.
  void read(Index image, const Preprocessing& target, std::span<float> out) const {
    preprocess(pixels(image), target, out);
  }

  /// The file's path, or the file and the number of the image in it.
  virtual std::string name(Index image) const = 0;

  /// Class of the image, from 0 up; -1 when the data set has no labels.
  virtual Index label(Index image) const = 0;

  /// By label. Empty when the data set does not name its classes.
  const std::vector<std::string>& class_names() const { return class_names_; }

  /// Files found beside the images that do not look like images and were left out, so that a program can say so.
  const std::vector<std::string>& skipped() const { return skipped_; }

 protected:
  Dataset() = default;
  Dataset(const Dataset&) = default;
  Dataset& operator=(const Dataset&) = default;

  /// `image` as a position in a vector. Throws Error when it is out of range.
  std::size_t position(Index image) const {
    if (image < 0 || image >= size()) fail("data set: image ", image, " of ", size());
    return static_cast<std::size_t>(image);
  }

  std::vector<std::string> class_names_;
  std::vector<std::string> skipped_;
};

}  // namespace moevit
