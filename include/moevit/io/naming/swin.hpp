/// Names of Swin transformers: Microsoft's (with Tutel's for the experts of Swin-MoE, and the norms of backbones for
/// dense tasks), timm's and those of Hugging Face.
#pragma once

#include <moevit/io/naming/table.hpp>

#include <array>
#include <string_view>

namespace moevit {

/// What Microsoft's and timm's names share.
inline constexpr std::array swin_shared_rows{
    NameRow{"stages.0.embedding.projection.kernel", "patch_embed.proj.weight", NameLayout::convolution},
    NameRow{"stages.0.embedding.projection.bias", "patch_embed.proj.bias"},
    NameRow{"stages.0.embedding.norm.scale", "patch_embed.norm.weight"},
    NameRow{"stages.0.embedding.norm.bias", "patch_embed.norm.bias"},
    NameRow{"stages.{}.blocks.{}.norm1.scale", "layers.{}.blocks.{}.norm1.weight"},
    NameRow{"stages.{}.blocks.{}.norm1.bias", "layers.{}.blocks.{}.norm1.bias"},
    NameRow{"stages.{}.blocks.{}.attention.query.kernel", "layers.{}.blocks.{}.attn.qkv.weight", NameLayout::query},
    NameRow{"stages.{}.blocks.{}.attention.query.bias", "layers.{}.blocks.{}.attn.qkv.bias", NameLayout::query},
    NameRow{"stages.{}.blocks.{}.attention.key.kernel", "layers.{}.blocks.{}.attn.qkv.weight", NameLayout::key},
    NameRow{"stages.{}.blocks.{}.attention.key.bias", "layers.{}.blocks.{}.attn.qkv.bias", NameLayout::key},
    NameRow{"stages.{}.blocks.{}.attention.value.kernel", "layers.{}.blocks.{}.attn.qkv.weight", NameLayout::value},
    NameRow{"stages.{}.blocks.{}.attention.value.bias", "layers.{}.blocks.{}.attn.qkv.bias", NameLayout::value},
    NameRow{"stages.{}.blocks.{}.attention.relative_position_bias",
            "layers.{}.blocks.{}.attn.relative_position_bias_table"},
    NameRow{"stages.{}.blocks.{}.attention.output.kernel", "layers.{}.blocks.{}.attn.proj.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.output.bias", "layers.{}.blocks.{}.attn.proj.bias"},
    NameRow{"stages.{}.blocks.{}.norm2.scale", "layers.{}.blocks.{}.norm2.weight"},
    NameRow{"stages.{}.blocks.{}.norm2.bias", "layers.{}.blocks.{}.norm2.bias"},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.kernel", "layers.{}.blocks.{}.mlp.fc1.weight", NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.bias", "layers.{}.blocks.{}.mlp.fc1.bias"},
    NameRow{"stages.{}.blocks.{}.mlp.output.kernel", "layers.{}.blocks.{}.mlp.fc2.weight", NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.mlp.output.bias", "layers.{}.blocks.{}.mlp.fc2.bias"},
    NameRow{"stages.{}.output_norm.scale", "norm{}.weight"},
    NameRow{"stages.{}.output_norm.bias", "norm{}.bias"},
    NameRow{"norm.scale", "norm.weight"},
    NameRow{"norm.bias", "norm.bias"},
};

inline constexpr auto swin_rows = joined_rows(
    swin_shared_rows,
    std::array{
        NameRow{"stages.0.embedding.position_embedding", "absolute_pos_embed", NameLayout::grid_rows,
                NameCondition::shrunk_windows},
        NameRow{"stages.0.embedding.position_embedding", "absolute_pos_embed", NameLayout::grid_channels,
                NameCondition::padded_windows},
        NameRow{"stages.1.embedding.norm.scale", "layers.0.downsample.norm.weight"},
        NameRow{"stages.1.embedding.norm.bias", "layers.0.downsample.norm.bias"},
        NameRow{"stages.1.embedding.reduction.kernel", "layers.0.downsample.reduction.weight", NameLayout::transposed},
        NameRow{"stages.2.embedding.norm.scale", "layers.1.downsample.norm.weight"},
        NameRow{"stages.2.embedding.norm.bias", "layers.1.downsample.norm.bias"},
        NameRow{"stages.2.embedding.reduction.kernel", "layers.1.downsample.reduction.weight", NameLayout::transposed},
        NameRow{"stages.3.embedding.norm.scale", "layers.2.downsample.norm.weight"},
        NameRow{"stages.3.embedding.norm.bias", "layers.2.downsample.norm.bias"},
        NameRow{"stages.3.embedding.reduction.kernel", "layers.2.downsample.reduction.weight", NameLayout::transposed},
        NameRow{"stages.{}.blocks.{}.moe.router.kernel", "layers.{}.blocks.{}.mlp._moe_layer.gates.0.wg.weight",
                NameLayout::transposed},
        NameRow{"stages.{}.blocks.{}.moe.router.projection.kernel",
                "layers.{}.blocks.{}.mlp._moe_layer.gates.0.cosine_projector.weight", NameLayout::transposed},
        NameRow{"stages.{}.blocks.{}.moe.router.projection.bias",
                "layers.{}.blocks.{}.mlp._moe_layer.gates.0.cosine_projector.bias"},
        NameRow{"stages.{}.blocks.{}.moe.router.similarity", "layers.{}.blocks.{}.mlp._moe_layer.gates.0.sim_matrix"},
        NameRow{"stages.{}.blocks.{}.moe.router.temperature", "layers.{}.blocks.{}.mlp._moe_layer.gates.0.temperature"},
        NameRow{"stages.{}.blocks.{}.moe.experts.hidden.kernel",
                "layers.{}.blocks.{}.mlp._moe_layer.experts.batched_fc1_w", NameLayout::experts},
        NameRow{"stages.{}.blocks.{}.moe.experts.hidden.bias",
                "layers.{}.blocks.{}.mlp._moe_layer.experts.batched_fc1_bias"},
        NameRow{"stages.{}.blocks.{}.moe.experts.output.kernel",
                "layers.{}.blocks.{}.mlp._moe_layer.experts.batched_fc2_w"},
        NameRow{"stages.{}.blocks.{}.moe.experts.output.bias",
                "layers.{}.blocks.{}.mlp._moe_layer.experts.batched_fc2_bias"},
        NameRow{"head.kernel", "head.weight", NameLayout::transposed},
        NameRow{"head.bias", "head.bias"},
    });

/// Merging is stored with the stage behind it, not before it as Microsoft has it.
inline constexpr auto swin_timm_rows = joined_rows(
    swin_shared_rows,
    std::array{
        NameRow{"stages.1.embedding.norm.scale", "layers.1.downsample.norm.weight"},
        NameRow{"stages.1.embedding.norm.bias", "layers.1.downsample.norm.bias"},
        NameRow{"stages.1.embedding.reduction.kernel", "layers.1.downsample.reduction.weight", NameLayout::transposed},
        NameRow{"stages.2.embedding.norm.scale", "layers.2.downsample.norm.weight"},
        NameRow{"stages.2.embedding.norm.bias", "layers.2.downsample.norm.bias"},
        NameRow{"stages.2.embedding.reduction.kernel", "layers.2.downsample.reduction.weight", NameLayout::transposed},
        NameRow{"stages.3.embedding.norm.scale", "layers.3.downsample.norm.weight"},
        NameRow{"stages.3.embedding.norm.bias", "layers.3.downsample.norm.bias"},
        NameRow{"stages.3.embedding.reduction.kernel", "layers.3.downsample.reduction.weight", NameLayout::transposed},
        NameRow{"head.kernel", "head.fc.weight", NameLayout::transposed},
        NameRow{"head.bias", "head.fc.bias"},
    });

inline constexpr std::array swin_hugging_face_rows{
    NameRow{"stages.0.embedding.projection.kernel", "embeddings.patch_embeddings.projection.weight",
            NameLayout::convolution},
    NameRow{"stages.0.embedding.projection.bias", "embeddings.patch_embeddings.projection.bias"},
    NameRow{"stages.0.embedding.norm.scale", "embeddings.norm.weight"},
    NameRow{"stages.0.embedding.norm.bias", "embeddings.norm.bias"},
    NameRow{"stages.0.embedding.position_embedding", "embeddings.position_embeddings", NameLayout::grid_rows},
    NameRow{"stages.1.embedding.norm.scale", "encoder.layers.0.downsample.norm.weight"},
    NameRow{"stages.1.embedding.norm.bias", "encoder.layers.0.downsample.norm.bias"},
    NameRow{"stages.1.embedding.reduction.kernel", "encoder.layers.0.downsample.reduction.weight",
            NameLayout::transposed},
    NameRow{"stages.2.embedding.norm.scale", "encoder.layers.1.downsample.norm.weight"},
    NameRow{"stages.2.embedding.norm.bias", "encoder.layers.1.downsample.norm.bias"},
    NameRow{"stages.2.embedding.reduction.kernel", "encoder.layers.1.downsample.reduction.weight",
            NameLayout::transposed},
    NameRow{"stages.3.embedding.norm.scale", "encoder.layers.2.downsample.norm.weight"},
    NameRow{"stages.3.embedding.norm.bias", "encoder.layers.2.downsample.norm.bias"},
    NameRow{"stages.3.embedding.reduction.kernel", "encoder.layers.2.downsample.reduction.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.norm1.scale", "encoder.layers.{}.blocks.{}.layernorm_before.weight"},
    NameRow{"stages.{}.blocks.{}.norm1.bias", "encoder.layers.{}.blocks.{}.layernorm_before.bias"},
    NameRow{"stages.{}.blocks.{}.attention.query.kernel", "encoder.layers.{}.blocks.{}.attention.self.query.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.query.bias", "encoder.layers.{}.blocks.{}.attention.self.query.bias"},
    NameRow{"stages.{}.blocks.{}.attention.key.kernel", "encoder.layers.{}.blocks.{}.attention.self.key.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.key.bias", "encoder.layers.{}.blocks.{}.attention.self.key.bias"},
    NameRow{"stages.{}.blocks.{}.attention.value.kernel", "encoder.layers.{}.blocks.{}.attention.self.value.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.value.bias", "encoder.layers.{}.blocks.{}.attention.self.value.bias"},
    NameRow{"stages.{}.blocks.{}.attention.relative_position_bias",
            "encoder.layers.{}.blocks.{}.attention.self.relative_position_bias_table"},
    NameRow{"stages.{}.blocks.{}.attention.output.kernel", "encoder.layers.{}.blocks.{}.attention.output.dense.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.output.bias", "encoder.layers.{}.blocks.{}.attention.output.dense.bias"},
    NameRow{"stages.{}.blocks.{}.norm2.scale", "encoder.layers.{}.blocks.{}.layernorm_after.weight"},
    NameRow{"stages.{}.blocks.{}.norm2.bias", "encoder.layers.{}.blocks.{}.layernorm_after.bias"},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.kernel", "encoder.layers.{}.blocks.{}.intermediate.dense.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.bias", "encoder.layers.{}.blocks.{}.intermediate.dense.bias"},
    NameRow{"stages.{}.blocks.{}.mlp.output.kernel", "encoder.layers.{}.blocks.{}.output.dense.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.mlp.output.bias", "encoder.layers.{}.blocks.{}.output.dense.bias"},
    NameRow{"norm.scale", "layernorm.weight"},
    NameRow{"norm.bias", "layernorm.bias"},
    NameRow{"head.kernel", "classifier.weight", NameLayout::transposed},
    NameRow{"head.bias", "classifier.bias"},
};

inline constexpr std::array<std::string_view, 3> swin_buffers{".relative_position_index", ".attn_mask",
                                                              ".relative_coords_table"};
inline constexpr std::array<std::string_view, 1> swin_hugging_face_prefixes{"swin."};
inline constexpr NameTable swin_names{Naming::swin, "swin", swin_rows, PositionResampling::bicubic, {}, swin_buffers};
inline constexpr NameTable swin_timm_names{Naming::swin_timm,           "swin_timm", swin_timm_rows,
                                           PositionResampling::bicubic, {},          swin_buffers};
inline constexpr NameTable swin_hugging_face_names{Naming::swin_hugging_face,  "swin_hugging_face",
                                                   swin_hugging_face_rows,     PositionResampling::bicubic,
                                                   swin_hugging_face_prefixes, swin_buffers};

}  // namespace moevit
