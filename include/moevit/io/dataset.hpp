/// Opens a data set, whatever its kind: IDX, CIFAR binary, one folder per class, a folder of images, one image.
/// Component `image`.
#pragma once

#include <moevit/io/datasets/cifar.hpp>
#include <moevit/io/datasets/class_folder.hpp>
#include <moevit/io/datasets/dataset.hpp>
#include <moevit/io/datasets/idx.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

struct DatasetOptions {
  /// "train", "t10k", "test": the part of a data set that has several. Empty where it has one.
  std::string split = {};
  ImageLimits limits = {};
};

namespace detail {

/// The pieces of a data set that lie in one folder, by the name of the split.
template <class Files>
const Files& choose_split(const std::map<std::string, Files>& splits, const std::string& wanted,
                          const std::string& where) {
  std::string known;
  for (const auto& [name, files] : splits) known += (known.empty() ? "" : ", ") + name;
  if (wanted.empty() && splits.size() == 1) return splits.begin()->second;
  if (wanted.empty()) fail(where, ": has several splits (", known, "): name one");
  const auto found = splits.find(wanted);
  if (found == splits.end()) fail(where, ": has no split '", wanted, "', only: ", known);
  return found->second;
}

/// The split's name when the path is one of IDX images: <split>-images-idx3-ubyte, perhaps with .gz; the other
/// spelling is <split>-images.idx3-ubyte.
inline std::optional<std::string> idx_split(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  for (const char* ending :
       {"-images-idx3-ubyte.gz", "-images-idx3-ubyte", "-images.idx3-ubyte.gz", "-images.idx3-ubyte"}) {
    if (name.ends_with(ending)) return name.substr(0, name.size() - std::string(ending).size());
  }
  return std::nullopt;
}

/// The labels beside a file of IDX images, packed or not. Throws Error when they are not there.
inline std::filesystem::path idx_labels(const std::filesystem::path& images) {
  std::string name = images.filename().string();
  const auto replace = [&](const std::string& from, const std::string& to) {
    name.replace(name.rfind(from), from.size(), to);
  };
  replace("images", "labels");
  replace("idx3", "idx1");
  const std::string other = name.ends_with(".gz") ? name.substr(0, name.size() - 3) : name + ".gz";
  for (const std::string& candidate : {name, other}) {
    if (std::filesystem::exists(images.parent_path() / candidate)) return images.parent_path() / candidate;
  }
  fail(images.string(), ": its labels, ", name, ", are not beside it");
}

struct CifarFiles {
  CifarKind kind = CifarKind::cifar10;
  std::vector<std::filesystem::path> files;
};

/// The split's name and kind when the file is named as one of CIFAR's batches.
inline std::optional<std::pair<std::string, CifarKind>> cifar_split(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  if (name == "test_batch.bin") return std::pair{std::string("test"), CifarKind::cifar10};
  if (name.starts_with("data_batch_") && name.ends_with(".bin"))
    return std::pair{std::string("train"), CifarKind::cifar10};
  if (name == "train.bin" || name == "test.bin") return std::pair{name.substr(0, name.size() - 4), CifarKind::cifar100};
  return std::nullopt;
}

inline std::unique_ptr<Dataset> open_cifar(const CifarFiles& found, const DatasetOptions& options) {
  const auto folder = found.files.front().parent_path();
  const auto names = folder / (found.kind == CifarKind::cifar10 ? "batches.meta.txt" : "fine_label_names.txt");
  return std::make_unique<CifarDataset>(found.kind, found.files, std::filesystem::exists(names) ? names : "",
                                        options.limits);
}

inline std::unique_ptr<Dataset> open_file(const std::filesystem::path& path, const DatasetOptions& options) {
  if (idx_split(path)) return std::make_unique<IdxDataset>(path, idx_labels(path), options.limits);
  if (const auto cifar = cifar_split(path)) return open_cifar({cifar->second, {path}}, options);
  return std::make_unique<FolderDataset>(FolderDataset::of_files({path}, options.limits));
}

inline std::unique_ptr<Dataset> open_folder(const std::filesystem::path& folder, const DatasetOptions& options) {
  std::map<std::string, std::filesystem::path> idx;
  std::map<std::string, CifarFiles> cifar;
  std::size_t folders = 0;
  std::size_t images = 0;
  for (const auto& entry : sorted_entries(folder)) {
    if (std::filesystem::is_directory(entry)) {
      ++folders;
    } else if (const auto split = idx_split(entry)) {
      idx.emplace(*split, entry);
    } else if (const auto batch = cifar_split(entry)) {
      cifar[batch->first].kind = batch->second;
      cifar[batch->first].files.push_back(entry);
    } else if (is_image_name(entry)) {
      ++images;
    }
  }
  const std::string where = folder.string();
  if ((idx.empty() ? 0 : 1) + (cifar.empty() ? 0 : 1) + (folders == 0 ? 0 : 1) + (images == 0 ? 0 : 1) > 1) {
    fail(where, ": more than one kind of data set in it: ", idx.size(), " IDX, ", cifar.size(), " CIFAR, ", images,
         " images, ", folders, " folders");
  }
  if (!idx.empty()) return open_file(choose_split(idx, options.split, where), options);
  if (!cifar.empty()) return open_cifar(choose_split(cifar, options.split, where), options);
  if (!options.split.empty()) fail(where, ": has no split '", options.split, "'");
  if (folders > 0) return std::make_unique<FolderDataset>(FolderDataset::of_classes(folder, options.limits));
  return std::make_unique<FolderDataset>(FolderDataset::of_images(folder, options.limits));
}

}  // namespace detail

/// Opens what is at `path`:
/// - a folder with <split>-images-idx3-ubyte and <split>-labels-idx1-ubyte, gzipped or not (MNIST, Fashion-MNIST), or
///   one such file of images;
/// - a folder with the binary batches of CIFAR-10 (splits train, test) or CIFAR-100, or one such file;
/// - a folder with one folder of images per class; with a split, <path>/<split> is opened instead;
/// - a folder of images, or a single image, without labels.
/// Throws Error, naming the file or folder, when it is none of these or damaged, or when the split is not there or
/// not named although there are several.
inline std::unique_ptr<Dataset> open_dataset(const std::filesystem::path& path, const DatasetOptions& options = {}) {
  if (!std::filesystem::exists(path)) fail(path.string(), ": no such file or folder");
  if (!std::filesystem::is_directory(path)) {
    if (!options.split.empty()) fail(path.string(), ": a single file has no split '", options.split, "'");
    return detail::open_file(path, options);
  }
  const auto part = path / options.split;
  if (!options.split.empty() && std::filesystem::is_directory(part))
    return detail::open_folder(part, {{}, options.limits});
  return detail::open_folder(path, options);
}

}  // namespace moevit
