/// What parameters of experts are called, for those who tell them by their names.
#pragma once

#include <string_view>

namespace moevit::detail {

/// What follows the name of a sparse block: its experts; of experts with a common core (Residual MoE) the core, and
/// what is added to it.
inline constexpr std::string_view expert_part = ".moe.experts.", core_part = ".moe.experts.core.",
                                  residual_part = ".moe.experts.residual.";

inline bool is_expert_core(std::string_view name) { return name.find(core_part) != std::string_view::npos; }
inline bool is_expert_residual(std::string_view name) { return name.find(residual_part) != std::string_view::npos; }

}  // namespace moevit::detail
