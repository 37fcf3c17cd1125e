/// Image files in folders: one folder per class, or files without labels. Component `image`.
#pragma once

#include <moevit/io/datasets/dataset.hpp>
#include <moevit/io/image.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// Of the names of image files, in lower case.
inline constexpr const char* image_endings[] = {".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".pnm"};

/// By its name: one of image_endings, in upper or lower case.
inline bool is_image_name(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return std::find(std::begin(image_endings), std::end(image_endings), extension) != std::end(image_endings);
}

/// What is in a folder, sorted by the bytes of the names, so that labels are the same everywhere. Throws Error.
inline std::vector<std::filesystem::path> sorted_entries(const std::filesystem::path& folder) {
  std::error_code failure;
  std::vector<std::filesystem::path> entries;
  for (std::filesystem::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    entries.push_back(entry->path());
  }
  if (failure) fail(folder.string(), ": cannot be listed: ", failure.message());
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.filename().string() < b.filename().string(); });
  return entries;
}

/// Image files, opened when they are read. Files whose name is not an image's are in skipped().
class FolderDataset : public Dataset {
 public:
  /// One folder per class, their names sorted; class `label()` is class_names()[label]. A class may be empty.
  /// Throws Error where a class has folders of its own, and when there is no image at all.
  static FolderDataset of_classes(const std::filesystem::path& root, const ImageLimits& limits = {}) {
    FolderDataset dataset(limits);
    for (const auto& entry : sorted_entries(root)) {
      if (!std::filesystem::is_directory(entry)) {
        dataset.skipped_.push_back(entry.string());
        continue;
      }
      dataset.append_folder(entry, std::ssize(dataset.class_names_));
      dataset.class_names_.push_back(entry.filename().string());
    }
    dataset.check_not_empty(root);
    return dataset;
  }

  /// The images of one folder, without labels. Throws Error where it has folders in it, and when there is no image.
  static FolderDataset of_images(const std::filesystem::path& folder, const ImageLimits& limits = {}) {
    FolderDataset dataset(limits);
    dataset.append_folder(folder, -1);
    dataset.check_not_empty(folder);
    return dataset;
  }

  /// Files in the order given, without labels and whatever their names.
  static FolderDataset of_files(const std::vector<std::filesystem::path>& files, const ImageLimits& limits = {}) {
    FolderDataset dataset(limits);
    for (const auto& file : files) dataset.files_.push_back({file, -1});
    return dataset;
  }

  Index size() const override { return std::ssize(files_); }
  Image pixels(Index image) const override { return load_image(files_[position(image)].path, limits_); }
  std::string name(Index image) const override { return files_[position(image)].path.string(); }
  Index label(Index image) const override { return files_[position(image)].label; }

 private:
  struct File {
    std::filesystem::path path;
    Index label;
  };

  explicit FolderDataset(const ImageLimits& limits) : limits_(limits) {}

  void append_folder(const std::filesystem::path& folder, Index label) {
    for (const auto& entry : sorted_entries(folder)) {
      if (std::filesystem::is_directory(entry)) {
        fail(entry.string(), ": a folder among images: expected image files",
             label < 0 ? "" : ", or the name of a split when the outer folders are splits");
      }
      if (is_image_name(entry)) {
        files_.push_back({entry, label});
      } else {
        skipped_.push_back(entry.string());
      }
    }
  }

  void check_not_empty(const std::filesystem::path& folder) const {
    if (files_.empty()) fail(folder.string(), ": no image (.jpg, .jpeg, .png, .ppm, .pgm, .pnm) in it");
  }

  ImageLimits limits_;
  std::vector<File> files_;
};

}  // namespace moevit
