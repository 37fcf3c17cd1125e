/// Finds the model type that fits a weights file.
#pragma once

#include "any_model.hpp"

#include <filesystem>
#include <memory>

namespace examples {

/// The first of KnownModels (models.hpp) that fits the file, loaded. Throws moevit::Error when the file is damaged or
/// none fits. Compiled once for all programs: every model there comes in three precisions.
std::unique_ptr<AnyModel> open_model(const std::filesystem::path& path);

}  // namespace examples
