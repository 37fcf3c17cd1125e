/// The models that examples/weights/ holds for Fashion-MNIST, and a dense one of their size.
#pragma once

#include <moevit/core/description.hpp>

namespace moevit::bench {

inline constexpr VitConfig fashion{
    .image = 28, .patch = 4, .channels = 1, .dim = 64, .depth = 4, .heads = 4, .hidden = 128, .classes = 10};
inline constexpr ModelDescription fashion_vit{ModelFamily::vit, fashion, MoeConfig{.placement = no_blocks()}};
inline constexpr ModelDescription fashion_vmoe{ModelFamily::vmoe, fashion,
                                               MoeConfig{.experts = 8, .selected = 2, .placement = every(2)}};
inline constexpr ModelDescription fashion_mobile_vmoe{ModelFamily::mobile_vmoe, fashion,
                                                      MoeConfig{.experts = 5, .selected = 1, .placement = last(2)}};

}  // namespace moevit::bench
