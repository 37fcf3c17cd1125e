/// Names of the simple ViT of lucidrains/vit-pytorch whose layers are wrapped in a pre-norm (`fn`).
#pragma once

#include <moevit/io/naming/table.hpp>

#include <array>

namespace moevit {

inline constexpr std::array vit_pytorch_rows{
    NameRow{"patch_embedding.kernel", "to_patch_embedding.1.weight", NameLayout::flat_patch},
    NameRow{"patch_embedding.bias", "to_patch_embedding.1.bias"},
    NameRow{"class_token", "cls_token", NameLayout::row},
    NameRow{"position_embedding", "pos_embedding", NameLayout::rows},
    NameRow{"blocks.{}.norm1.scale", "transformer.layers.{}.0.norm.weight"},
    NameRow{"blocks.{}.norm1.bias", "transformer.layers.{}.0.norm.bias"},
    NameRow{"blocks.{}.attention.query.kernel", "transformer.layers.{}.0.fn.to_qkv.weight", NameLayout::query},
    NameRow{"blocks.{}.attention.query.bias", "transformer.layers.{}.0.fn.to_qkv.bias", NameLayout::query},
    NameRow{"blocks.{}.attention.key.kernel", "transformer.layers.{}.0.fn.to_qkv.weight", NameLayout::key},
    NameRow{"blocks.{}.attention.key.bias", "transformer.layers.{}.0.fn.to_qkv.bias", NameLayout::key},
    NameRow{"blocks.{}.attention.value.kernel", "transformer.layers.{}.0.fn.to_qkv.weight", NameLayout::value},
    NameRow{"blocks.{}.attention.value.bias", "transformer.layers.{}.0.fn.to_qkv.bias", NameLayout::value},
    NameRow{"blocks.{}.attention.output.kernel", "transformer.layers.{}.0.fn.to_out.0.weight", NameLayout::transposed},
    NameRow{"blocks.{}.attention.output.bias", "transformer.layers.{}.0.fn.to_out.0.bias"},
    NameRow{"blocks.{}.norm2.scale", "transformer.layers.{}.1.norm.weight"},
    NameRow{"blocks.{}.norm2.bias", "transformer.layers.{}.1.norm.bias"},
    NameRow{"blocks.{}.mlp.hidden.kernel", "transformer.layers.{}.1.fn.net.0.weight", NameLayout::transposed},
    NameRow{"blocks.{}.mlp.hidden.bias", "transformer.layers.{}.1.fn.net.0.bias"},
    NameRow{"blocks.{}.mlp.output.kernel", "transformer.layers.{}.1.fn.net.3.weight", NameLayout::transposed},
    NameRow{"blocks.{}.mlp.output.bias", "transformer.layers.{}.1.fn.net.3.bias"},
    NameRow{"norm.scale", "mlp_head.0.weight"},
    NameRow{"norm.bias", "mlp_head.0.bias"},
    NameRow{"head.kernel", "mlp_head.1.weight", NameLayout::transposed},
    NameRow{"head.bias", "mlp_head.1.bias"},
};

inline constexpr NameTable vit_pytorch_names{Naming::vit_pytorch, "vit_pytorch", vit_pytorch_rows,
                                             PositionResampling::bicubic_antialiased};

}  // namespace moevit
