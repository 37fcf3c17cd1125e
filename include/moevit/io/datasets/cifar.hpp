/// The binary versions of CIFAR-10 and CIFAR-100: 32 x 32 colour images, three planes each, labels in front.
#pragma once

#include <moevit/io/bounded_file.hpp>
#include <moevit/io/datasets/dataset.hpp>
#include <moevit/io/image_view.hpp>
#include <moevit/io/text_lines.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

enum class CifarKind : unsigned char {
  cifar10,  // one label byte
  cifar100  // the super-class, then the class; label() is the class
};

/// Images and labels of one or more batch files, in memory (www.cs.toronto.edu/~kriz/cifar.html).
class CifarDataset : public Dataset {
 public:
  /// `names`: a text file with one class name per line (batches.meta.txt, fine_label_names.txt), or empty.
  /// Throws Error, naming the file: when it is not a whole number of records or a label is out of range.
  CifarDataset(CifarKind kind, const std::vector<std::filesystem::path>& files, const std::filesystem::path& names = {},
               const ImageLimits& limits = {})
      : kind_(kind) {
    for (const auto& file : files) append(file, limits);
    if (size() == 0) fail("CIFAR: no batch file given");
    if (!names.empty()) read_names(names);
  }

  Index size() const override { return std::ssize(labels_); }
  Image pixels(Index image) const override {
    const std::uint8_t* planes = planes_.data() + position(image) * image_bytes;
    Image result(side, side, 3);
    for (Index pixel = 0; pixel < side * side; ++pixel) {
      for (Index channel = 0; channel < 3; ++channel)
        result.row(0)[pixel * 3 + channel] = planes[channel * side * side + pixel];
    }
    return result;
  }
  std::string name(Index image) const override {
    const std::size_t i = position(image);
    std::size_t file = 0;
    while (i >= files_[file].end) ++file;
    const std::size_t begin = file == 0 ? 0 : files_[file - 1].end;
    return files_[file].path + "[" + std::to_string(i - begin) + "]";
  }
  Index label(Index image) const override { return labels_[position(image)]; }

  /// Bytes of one record.
  static constexpr Index record_bytes(CifarKind kind) { return (kind == CifarKind::cifar10 ? 1 : 2) + side * side * 3; }

 private:
  static constexpr Index side = 32;
  static constexpr std::size_t image_bytes = 3 * side * side;

  struct File {
    std::string path;
    std::size_t end;  // number of the first image that is not in it
  };

  Index classes() const { return kind_ == CifarKind::cifar10 ? 10 : 100; }

  void append(const std::filesystem::path& path, const ImageLimits& limits) {
    const BoundedFile file(path, limits.max_file_bytes);
    const std::string& where = file.name();
    const auto bytes = file.bytes();
    const auto record = static_cast<std::size_t>(record_bytes(kind_));
    if (bytes.empty() || bytes.size() % record != 0) {
      fail(where, ": CIFAR: expected a multiple of ", record, " bytes, found ", bytes.size());
    }
    for (std::size_t begin = 0; begin < bytes.size(); begin += record) {
      const auto values = bytes.subspan(begin, record);
      const std::uint8_t label = values[record - image_bytes - 1];
      if (label >= classes()) {
        fail(where, ": CIFAR: image ", begin / record, " has label ", int{label}, ", expected 0 to ", classes() - 1);
      }
      labels_.push_back(label);
      const auto planes = values.last(image_bytes);
      planes_.insert(planes_.end(), planes.begin(), planes.end());
    }
    files_.push_back({where, labels_.size()});
  }

  void read_names(const std::filesystem::path& path) {
    class_names_ = moevit::read_names(path);
    if (std::ssize(class_names_) != classes()) {
      fail(path.string(), ": expected ", classes(), " class names, found ", class_names_.size());
    }
  }

  CifarKind kind_;
  std::vector<File> files_;
  std::vector<std::uint8_t> labels_;
  std::vector<std::uint8_t> planes_;
};

}  // namespace moevit
