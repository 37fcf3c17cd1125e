/// The images of the study of Residual MoE.
#pragma once

#include "common/data_sets.hpp"
#include "downstream/models.hpp"

#include <moevit/io/dataset.hpp>
#include <moevit/io/datasets/memory.hpp>
#include <moevit/io/datasets/segmentation.hpp>
#include <moevit/io/datasets/voc.hpp>
#include <moevit/train/shuffle.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

namespace examples::downstream {

/// Images to train with and to validate on, in one set, and test images, null where nobody looks at them.
template <class Data>
struct TaskImages {
  std::unique_ptr<Data> training;
  moevit::DataSplit split;
  std::unique_ptr<Data> test;
};

/// What images go through for a task: resized so that one window covers most of them.
inline moevit::Preprocessing preprocessing_of(Task task) {
  const moevit::MapSize size = image_of(task);
  moevit::Preprocessing result = tiny_imagenet_preprocessing;  // the backbone's mean and deviation
  result.height = size.height, result.width = size.width;
  result.shorter_side = std::min(size.height, size.width);
  return result;
}

/// The first `training` images of `size` to train with, the others to validate on.
inline moevit::DataSplit split_at(Index training, Index size) {
  moevit::DataSplit split;
  for (Index image = 0; image < size; ++image) (image < training ? split.training : split.validation).push_back(image);
  return split;
}

using UpstreamImages = TaskImages<moevit::Dataset>;
using SegmentationImages = TaskImages<moevit::SegmentationDataset>;
using DetectionImages = TaskImages<moevit::DetectionDataset>;

/// Folders of classes: the last tenth of every class is for validation; the test images are the split "val".
inline UpstreamImages open_upstream(const std::filesystem::path& root, bool with_test, Index threads) {
  moevit::ThreadPool pool(threads);
  const auto open = [&](const char* split) {
    const auto files = moevit::open_dataset(root, {.split = split, .limits = {}});
    return std::make_unique<moevit::MemoryDataset>(*files, preprocessing_of(Task::upstream), moevit::ExecutorRef(pool));
  };
  UpstreamImages images;
  images.training = open("train");
  images.split = moevit::validation_split(*images.training);
  if (with_test) images.test = open("val");
  return images;
}

/// CamVid has splits for all three; of the nuclei the last tenth of the training split is for validation, and their
/// second split, "val", for tests.
inline SegmentationImages open_segmentation(Task task, const std::filesystem::path& root, bool with_test) {
  using Set = moevit::SegmentationDataset;
  SegmentationImages images;
  if (task == Task::camvid) {
    const auto open = [&](const char* split) {
      return Set::of_folders(root, {.split = split,
                                    .class_names = {"sky", "building", "pole", "road", "pavement", "tree", "sign",
                                                    "fence", "car", "pedestrian", "bicyclist"},
                                    .ignored = 11,
                                    .limits = {}});
    };
    images.training = std::make_unique<Set>(open("train"));
    const Index training = images.training->size();
    images.training->append(open("val"));
    images.split = split_at(training, images.training->size());
    if (with_test) images.test = std::make_unique<Set>(open("test"));
    return images;
  }
  images.training = std::make_unique<Set>(Set::of_instances(root, "train", "nucleus"));
  images.split = moevit::validation_split(*images.training);
  if (with_test) images.test = std::make_unique<Set>(Set::of_instances(root, "val", "nucleus"));
  return images;
}

/// The same for BCCD, and the boxes of the nuclei.
inline DetectionImages open_detection(Task task, const std::filesystem::path& root, bool with_test) {
  using Set = moevit::DetectionDataset;
  const auto read = [&](const char* split) {
    if (task == Task::nuclei_boxes) return moevit::read_box_table(root, split, "nucleus");
    return moevit::read_voc(root, {.split = split, .class_names = {}});
  };
  DetectionImages images;
  moevit::DetectionAnnotations annotations = read("train");
  const Index training = std::ssize(annotations.images);
  if (task == Task::bccd) append(annotations, read("val"));
  images.training = std::make_unique<Set>(std::move(annotations));
  images.split =
      task == Task::bccd ? split_at(training, images.training->size()) : moevit::validation_split(*images.training);
  if (with_test) images.test = std::make_unique<Set>(Set(read(task == Task::bccd ? "test" : "val")));
  return images;
}

}  // namespace examples::downstream
