/// Names of timm's VisionTransformer.
#pragma once

#include <moevit/io/naming/table.hpp>

#include <array>

namespace moevit {

inline constexpr std::array timm_rows{
    NameRow{"patch_embedding.kernel", "patch_embed.proj.weight", NameLayout::convolution},
    NameRow{"patch_embedding.bias", "patch_embed.proj.bias"},
    NameRow{"class_token", "cls_token", NameLayout::row},
    NameRow{"position_embedding", "pos_embed", NameLayout::rows},
    NameRow{"blocks.{}.norm1.scale", "blocks.{}.norm1.weight"},
    NameRow{"blocks.{}.norm1.bias", "blocks.{}.norm1.bias"},
    NameRow{"blocks.{}.attention.query.kernel", "blocks.{}.attn.qkv.weight", NameLayout::query},
    NameRow{"blocks.{}.attention.query.bias", "blocks.{}.attn.qkv.bias", NameLayout::query},
    NameRow{"blocks.{}.attention.key.kernel", "blocks.{}.attn.qkv.weight", NameLayout::key},
    NameRow{"blocks.{}.attention.key.bias", "blocks.{}.attn.qkv.bias", NameLayout::key},
    NameRow{"blocks.{}.attention.value.kernel", "blocks.{}.attn.qkv.weight", NameLayout::value},
    NameRow{"blocks.{}.attention.value.bias", "blocks.{}.attn.qkv.bias", NameLayout::value},
    NameRow{"blocks.{}.attention.query_norm.scale", "blocks.{}.attn.q_norm.weight"},
    NameRow{"blocks.{}.attention.query_norm.bias", "blocks.{}.attn.q_norm.bias"},
    NameRow{"blocks.{}.attention.key_norm.scale", "blocks.{}.attn.k_norm.weight"},
    NameRow{"blocks.{}.attention.key_norm.bias", "blocks.{}.attn.k_norm.bias"},
    NameRow{"blocks.{}.attention.output.kernel", "blocks.{}.attn.proj.weight", NameLayout::transposed},
    NameRow{"blocks.{}.attention.output.bias", "blocks.{}.attn.proj.bias"},
    NameRow{"blocks.{}.scale1", "blocks.{}.ls1.gamma"},
    NameRow{"blocks.{}.norm2.scale", "blocks.{}.norm2.weight"},
    NameRow{"blocks.{}.norm2.bias", "blocks.{}.norm2.bias"},
    NameRow{"blocks.{}.mlp.hidden.kernel", "blocks.{}.mlp.fc1.weight", NameLayout::transposed},
    NameRow{"blocks.{}.mlp.hidden.bias", "blocks.{}.mlp.fc1.bias"},
    NameRow{"blocks.{}.mlp.output.kernel", "blocks.{}.mlp.fc2.weight", NameLayout::transposed},
    NameRow{"blocks.{}.mlp.output.bias", "blocks.{}.mlp.fc2.bias"},
    NameRow{"blocks.{}.scale2", "blocks.{}.ls2.gamma"},
    NameRow{"norm.scale", "norm.weight", NameLayout::same, NameCondition::norm_before_pooling},
    NameRow{"norm.bias", "norm.bias", NameLayout::same, NameCondition::norm_before_pooling},
    NameRow{"norm.scale", "fc_norm.weight", NameLayout::same, NameCondition::norm_after_pooling},
    NameRow{"norm.bias", "fc_norm.bias", NameLayout::same, NameCondition::norm_after_pooling},
    NameRow{"representation.kernel", "pre_logits.fc.weight", NameLayout::transposed},
    NameRow{"representation.bias", "pre_logits.fc.bias"},
    NameRow{"head.kernel", "head.weight", NameLayout::transposed},
    NameRow{"head.bias", "head.bias"},
};

inline constexpr NameTable timm_names{Naming::timm, "timm", timm_rows, PositionResampling::bicubic_antialiased};

}  // namespace moevit
