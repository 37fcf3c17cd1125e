/// Finds the type of the segmenter or detector that a weights file holds.
#pragma once

#include "dense/dense_model.hpp"

#include <filesystem>
#include <memory>

namespace examples::dense {

/// The one of the models of train_downstream (downstream/models.hpp) that fits the file, loaded. Throws moevit::Error
/// when the file is damaged, of another kind, or none fits. Compiled once for all programs.
std::unique_ptr<Segmenter> open_segmenter(const std::filesystem::path& path);
std::unique_ptr<Detector> open_detector(const std::filesystem::path& path);

}  // namespace examples::dense
