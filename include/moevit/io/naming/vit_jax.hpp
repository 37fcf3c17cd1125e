/// Names of google-research/vision_transformer (vit_jax), as in the released npz files.
#pragma once

#include <moevit/io/naming/table.hpp>

#include <array>
#include <string_view>

namespace moevit {

inline constexpr std::array vit_jax_rows{
    NameRow{"patch_embedding.kernel", "embedding/kernel"},
    NameRow{"patch_embedding.bias", "embedding/bias"},
    NameRow{"class_token", "cls", NameLayout::row},
    NameRow{"position_embedding", "Transformer/posembed_input/pos_embedding", NameLayout::rows},
    NameRow{"blocks.{}.norm1.scale", "Transformer/encoderblock_{}/LayerNorm_0/scale"},
    NameRow{"blocks.{}.norm1.bias", "Transformer/encoderblock_{}/LayerNorm_0/bias"},
    NameRow{"blocks.{}.attention.query.kernel",
            "Transformer/encoderblock_{}/MultiHeadDotProductAttention_1/query/kernel", NameLayout::split_heads},
    NameRow{"blocks.{}.attention.query.bias", "Transformer/encoderblock_{}/MultiHeadDotProductAttention_1/query/bias",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.key.kernel", "Transformer/encoderblock_{}/MultiHeadDotProductAttention_1/key/kernel",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.key.bias", "Transformer/encoderblock_{}/MultiHeadDotProductAttention_1/key/bias",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.value.kernel",
            "Transformer/encoderblock_{}/MultiHeadDotProductAttention_1/value/kernel", NameLayout::split_heads},
    NameRow{"blocks.{}.attention.value.bias", "Transformer/encoderblock_{}/MultiHeadDotProductAttention_1/value/bias",
            NameLayout::split_heads},
    NameRow{"blocks.{}.attention.output.kernel",
            "Transformer/encoderblock_{}/MultiHeadDotProductAttention_1/out/kernel", NameLayout::joined_heads},
    NameRow{"blocks.{}.attention.output.bias", "Transformer/encoderblock_{}/MultiHeadDotProductAttention_1/out/bias"},
    NameRow{"blocks.{}.norm2.scale", "Transformer/encoderblock_{}/LayerNorm_2/scale"},
    NameRow{"blocks.{}.norm2.bias", "Transformer/encoderblock_{}/LayerNorm_2/bias"},
    NameRow{"blocks.{}.mlp.hidden.kernel", "Transformer/encoderblock_{}/MlpBlock_3/Dense_0/kernel"},
    NameRow{"blocks.{}.mlp.hidden.bias", "Transformer/encoderblock_{}/MlpBlock_3/Dense_0/bias"},
    NameRow{"blocks.{}.mlp.output.kernel", "Transformer/encoderblock_{}/MlpBlock_3/Dense_1/kernel"},
    NameRow{"blocks.{}.mlp.output.bias", "Transformer/encoderblock_{}/MlpBlock_3/Dense_1/bias"},
    NameRow{"norm.scale", "Transformer/encoder_norm/scale"},
    NameRow{"norm.bias", "Transformer/encoder_norm/bias"},
    NameRow{"representation.kernel", "pre_logits/kernel"},
    NameRow{"representation.bias", "pre_logits/bias"},
    NameRow{"head.kernel", "head/kernel"},
    NameRow{"head.bias", "head/bias"},
};

inline constexpr std::array<std::string_view, 2> vit_jax_prefixes{"params/", "opt/target/"};
inline constexpr NameTable vit_jax_names{Naming::vit_jax, "vit_jax", vit_jax_rows, PositionResampling::zoom,
                                         vit_jax_prefixes};

}  // namespace moevit
