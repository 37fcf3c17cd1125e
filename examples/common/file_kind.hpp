/// What kind of model a weights file of ours holds, by the names of its tensors.
#pragma once

#include <moevit/io/tensor_file.hpp>

#include <string_view>

namespace examples {

enum class FileKind { classifier, segmenter, detector };

/// Segmenters and detectors name their parts "backbone..." and "head...": a UPerNet classifies pixels, an FCOS has
/// towers. What is neither counts as a classifier.
inline FileKind kind_of(const moevit::TensorFile& file) {
  bool has_backbone = false, has_towers = false, has_classifier = false;
  for (const moevit::StoredTensor& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    has_backbone |= name.starts_with("backbone.");
    has_towers |= name.starts_with("head.levels.");
    has_classifier |= name.starts_with("head.classifier.");
  }
  if (has_backbone && has_towers) return FileKind::detector;
  return has_backbone && has_classifier ? FileKind::segmenter : FileKind::classifier;
}

/// The program that takes such files, as a hint in errors.
inline const char* hint_for(FileKind kind) {
  switch (kind) {
    case FileKind::segmenter:
      return "holds a segmenter, which the program segment takes, with --routing to see its experts";
    case FileKind::detector:
      return "holds a detector, which the program detect takes, with --routing to see its experts";
    default:
      return "holds neither a segmenter nor a detector; the program classify takes classifiers";
  }
}

}  // namespace examples
