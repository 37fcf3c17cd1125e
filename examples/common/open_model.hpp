/// Finds the model type that fits a weights file.
#pragma once

#include "any_model.hpp"
#include "models.hpp"

#include <moevit/io/safetensors.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>

namespace examples {

/// The first of KnownModels that fits the file, loaded. Throws moevit::Error when the file is damaged or none fits.
inline std::unique_ptr<AnyModel> open_model(const std::filesystem::path& path) {
  const moevit::TensorFile file = moevit::read_safetensors(path);
  std::unique_ptr<AnyModel> found;
  std::string reasons;
  const auto try_type = [&]<class Net>(std::type_identity<Net>) {
    if (found) return;
    auto model = std::make_unique<ModelHolder<Net>>();
    try {
      model->load(file);
      found = std::move(model);
    } catch (const moevit::Error& error) {
      reasons += std::string("\n") + error.what();
    }
  };
  [&]<class... Nets>(std::type_identity<std::tuple<Nets...>>) {
    (try_type(std::type_identity<Nets>{}), ...);
  }(std::type_identity<KnownModels>{});
  if (!found) moevit::fail(path.string(), ": none of the models this program is compiled with fits", reasons);
  return found;
}

}  // namespace examples
