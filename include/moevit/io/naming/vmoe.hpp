/// Names of google-research/vmoe; `Encoder/Router` is our addition to them for Mobile V-MoE.
#pragma once

#include <moevit/io/naming/table.hpp>

#include <array>
#include <string_view>

namespace moevit {

inline constexpr std::array vmoe_rows{
    NameRow{"patch_embedding.kernel", "embedding/kernel"},
    NameRow{"patch_embedding.bias", "embedding/bias"},
    NameRow{"class_token", "cls", NameLayout::row},
    NameRow{"position_embedding", "Encoder/posembed_input/pos_embedding", NameLayout::rows},
    NameRow{"blocks.{}.norm1.scale", "Encoder/encoderblock_{}/LayerNorm_0/scale"},
    NameRow{"blocks.{}.norm1.bias", "Encoder/encoderblock_{}/LayerNorm_0/bias"},
    NameRow{"blocks.{}.attention.query.kernel", "Encoder/encoderblock_{}/SelfAttention/query/kernel",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.query.bias", "Encoder/encoderblock_{}/SelfAttention/query/bias",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.key.kernel", "Encoder/encoderblock_{}/SelfAttention/key/kernel",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.key.bias", "Encoder/encoderblock_{}/SelfAttention/key/bias", NameLayout::split_heads},
    NameRow{"blocks.{}.attention.value.kernel", "Encoder/encoderblock_{}/SelfAttention/value/kernel",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.value.bias", "Encoder/encoderblock_{}/SelfAttention/value/bias",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.query_norm.scale", "Encoder/encoderblock_{}/SelfAttention/query_ln/scale"},
    NameRow{"blocks.{}.attention.key_norm.scale", "Encoder/encoderblock_{}/SelfAttention/key_ln/scale"},
    NameRow{"blocks.{}.attention.output.kernel", "Encoder/encoderblock_{}/SelfAttention/out/kernel",
            NameLayout::joined_heads},
    NameRow{"blocks.{}.attention.output.bias", "Encoder/encoderblock_{}/SelfAttention/out/bias"},
    NameRow{"blocks.{}.norm2.scale", "Encoder/encoderblock_{}/LayerNorm_1/scale"},
    NameRow{"blocks.{}.norm2.bias", "Encoder/encoderblock_{}/LayerNorm_1/bias"},
    NameRow{"blocks.{}.mlp.hidden.kernel", "Encoder/encoderblock_{}/Mlp/Dense_0/kernel"},
    NameRow{"blocks.{}.mlp.hidden.bias", "Encoder/encoderblock_{}/Mlp/Dense_0/bias"},
    NameRow{"blocks.{}.mlp.output.kernel", "Encoder/encoderblock_{}/Mlp/Dense_1/kernel"},
    NameRow{"blocks.{}.mlp.output.bias", "Encoder/encoderblock_{}/Mlp/Dense_1/bias"},
    NameRow{"blocks.{}.moe.router.kernel", "Encoder/encoderblock_{}/Moe/Router/dense/kernel", NameLayout::members},
    NameRow{"blocks.{}.moe.router.mu", "Encoder/encoderblock_{}/Moe/Router/mu"},
    NameRow{"blocks.{}.moe.router.scale", "Encoder/encoderblock_{}/Moe/Router/scale"},
    NameRow{"blocks.{}.moe.experts.hidden.kernel", "Encoder/encoderblock_{}/Moe/Mlp/Dense_0/kernel"},
    NameRow{"blocks.{}.moe.experts.hidden.bias", "Encoder/encoderblock_{}/Moe/Mlp/Dense_0/bias"},
    NameRow{"blocks.{}.moe.experts.output.kernel", "Encoder/encoderblock_{}/Moe/Mlp/Dense_1/kernel"},
    NameRow{"blocks.{}.moe.experts.output.bias", "Encoder/encoderblock_{}/Moe/Mlp/Dense_1/bias"},
    NameRow{"router.kernel", "Encoder/Router/dense/kernel"},
    NameRow{"router.bias", "Encoder/Router/dense/bias"},
    NameRow{"norm.scale", "Encoder/encoder_norm/scale"},
    NameRow{"norm.bias", "Encoder/encoder_norm/bias"},
    NameRow{"map_head.probe", "MapHead/probe", NameLayout::row},
    NameRow{"map_head.attention.query.kernel", "MapHead/MultiHeadDotProductAttention/query/kernel",
            NameLayout::split_heads},
    NameRow{"map_head.attention.query.bias", "MapHead/MultiHeadDotProductAttention/query/bias",
            NameLayout::split_heads},
    NameRow{"map_head.attention.key.kernel", "MapHead/MultiHeadDotProductAttention/key/kernel",
            NameLayout::split_heads},
    NameRow{"map_head.attention.key.bias", "MapHead/MultiHeadDotProductAttention/key/bias", NameLayout::split_heads},
    NameRow{"map_head.attention.value.kernel", "MapHead/MultiHeadDotProductAttention/value/kernel",
            NameLayout::split_heads},
    NameRow{"map_head.attention.value.bias", "MapHead/MultiHeadDotProductAttention/value/bias",
            NameLayout::split_heads},
    NameRow{"map_head.attention.query_norm.scale", "MapHead/MultiHeadDotProductAttention/query_ln/scale"},
    NameRow{"map_head.attention.key_norm.scale", "MapHead/MultiHeadDotProductAttention/key_ln/scale"},
    NameRow{"map_head.attention.output.kernel", "MapHead/MultiHeadDotProductAttention/out/kernel",
            NameLayout::joined_heads},
    NameRow{"map_head.attention.output.bias", "MapHead/MultiHeadDotProductAttention/out/bias"},
    NameRow{"map_head.norm.scale", "MapHead/LayerNorm/scale"},
    NameRow{"map_head.norm.bias", "MapHead/LayerNorm/bias"},
    NameRow{"map_head.mlp.hidden.kernel", "MapHead/Mlp/Dense_0/kernel"},
    NameRow{"map_head.mlp.hidden.bias", "MapHead/Mlp/Dense_0/bias"},
    NameRow{"map_head.mlp.output.kernel", "MapHead/Mlp/Dense_1/kernel"},
    NameRow{"map_head.mlp.output.bias", "MapHead/Mlp/Dense_1/bias"},
    NameRow{"representation.kernel", "pre_logits/kernel"},
    NameRow{"representation.bias", "pre_logits/bias"},
    NameRow{"head.kernel", "head/kernel"},
    NameRow{"head.bias", "head/bias"},
};

inline constexpr std::array<std::string_view, 2> vmoe_prefixes{"params/", "opt/target/"};
inline constexpr NameTable vmoe_names{Naming::vmoe, "vmoe", vmoe_rows, PositionResampling::zoom, vmoe_prefixes};

}  // namespace moevit
