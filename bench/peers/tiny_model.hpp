/// A model that is small enough for a test of the harness.
#pragma once

#include <moevit/core/description.hpp>

namespace moevit::bench {

inline constexpr ModelDescription tiny_mobile{
    ModelFamily::mobile_vmoe,
    VitConfig{.image = 32, .patch = 8, .dim = 32, .depth = 2, .heads = 2, .hidden = 64, .classes = 10},
    MoeConfig{.experts = 3, .selected = 1, .placement = last(1)}};

}  // namespace moevit::bench
