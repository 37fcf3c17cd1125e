/// A model's type as a value: what files carry in their metadata and what `inspect` prints.
#pragma once

#include <moevit/core/config.hpp>

namespace moevit {

/// Which model template.
enum class ModelFamily : unsigned char { vit, vmoe, mobile_vmoe, custom };

/// Which model template with which numbers. `moe` means nothing for ModelFamily::vit.
struct ModelDescription {
  ModelFamily family = ModelFamily::vit;
  VitConfig vit;
  MoeConfig moe;

  constexpr bool operator==(const ModelDescription&) const = default;
};

}  // namespace moevit
