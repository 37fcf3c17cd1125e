/// Names of convolutional vision transformers: Microsoft's and those of Hugging Face.
#pragma once

#include <moevit/io/naming/table.hpp>

#include <array>
#include <string_view>

namespace moevit {

inline constexpr std::array cvt_rows{
    NameRow{"stages.{}.embedding.projection.kernel", "stage{}.patch_embed.proj.weight", NameLayout::convolution},
    NameRow{"stages.{}.embedding.projection.bias", "stage{}.patch_embed.proj.bias"},
    NameRow{"stages.{}.embedding.norm.scale", "stage{}.patch_embed.norm.weight"},
    NameRow{"stages.{}.embedding.norm.bias", "stage{}.patch_embed.norm.bias"},
    NameRow{"stages.{}.embedding.class_token", "stage{}.cls_token", NameLayout::row},
    NameRow{"stages.{}.blocks.{}.norm1.scale", "stage{}.blocks.{}.norm1.weight"},
    NameRow{"stages.{}.blocks.{}.norm1.bias", "stage{}.blocks.{}.norm1.bias"},
    NameRow{"stages.{}.blocks.{}.attention.query.convolution.kernel", "stage{}.blocks.{}.attn.conv_proj_q.conv.weight",
            NameLayout::depthwise},
    NameRow{"stages.{}.blocks.{}.attention.query.norm.scale", "stage{}.blocks.{}.attn.conv_proj_q.bn.weight"},
    NameRow{"stages.{}.blocks.{}.attention.query.norm.bias", "stage{}.blocks.{}.attn.conv_proj_q.bn.bias"},
    NameRow{"stages.{}.blocks.{}.attention.query.norm.running_mean",
            "stage{}.blocks.{}.attn.conv_proj_q.bn.running_mean"},
    NameRow{"stages.{}.blocks.{}.attention.query.norm.running_variance",
            "stage{}.blocks.{}.attn.conv_proj_q.bn.running_var"},
    NameRow{"stages.{}.blocks.{}.attention.query.kernel", "stage{}.blocks.{}.attn.proj_q.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.query.bias", "stage{}.blocks.{}.attn.proj_q.bias"},
    NameRow{"stages.{}.blocks.{}.attention.key.convolution.kernel", "stage{}.blocks.{}.attn.conv_proj_k.conv.weight",
            NameLayout::depthwise},
    NameRow{"stages.{}.blocks.{}.attention.key.norm.scale", "stage{}.blocks.{}.attn.conv_proj_k.bn.weight"},
    NameRow{"stages.{}.blocks.{}.attention.key.norm.bias", "stage{}.blocks.{}.attn.conv_proj_k.bn.bias"},
    NameRow{"stages.{}.blocks.{}.attention.key.norm.running_mean",
            "stage{}.blocks.{}.attn.conv_proj_k.bn.running_mean"},
    NameRow{"stages.{}.blocks.{}.attention.key.norm.running_variance",
            "stage{}.blocks.{}.attn.conv_proj_k.bn.running_var"},
    NameRow{"stages.{}.blocks.{}.attention.key.kernel", "stage{}.blocks.{}.attn.proj_k.weight", NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.key.bias", "stage{}.blocks.{}.attn.proj_k.bias"},
    NameRow{"stages.{}.blocks.{}.attention.value.convolution.kernel", "stage{}.blocks.{}.attn.conv_proj_v.conv.weight",
            NameLayout::depthwise},
    NameRow{"stages.{}.blocks.{}.attention.value.norm.scale", "stage{}.blocks.{}.attn.conv_proj_v.bn.weight"},
    NameRow{"stages.{}.blocks.{}.attention.value.norm.bias", "stage{}.blocks.{}.attn.conv_proj_v.bn.bias"},
    NameRow{"stages.{}.blocks.{}.attention.value.norm.running_mean",
            "stage{}.blocks.{}.attn.conv_proj_v.bn.running_mean"},
    NameRow{"stages.{}.blocks.{}.attention.value.norm.running_variance",
            "stage{}.blocks.{}.attn.conv_proj_v.bn.running_var"},
    NameRow{"stages.{}.blocks.{}.attention.value.kernel", "stage{}.blocks.{}.attn.proj_v.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.value.bias", "stage{}.blocks.{}.attn.proj_v.bias"},
    NameRow{"stages.{}.blocks.{}.attention.output.kernel", "stage{}.blocks.{}.attn.proj.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.output.bias", "stage{}.blocks.{}.attn.proj.bias"},
    NameRow{"stages.{}.blocks.{}.norm2.scale", "stage{}.blocks.{}.norm2.weight"},
    NameRow{"stages.{}.blocks.{}.norm2.bias", "stage{}.blocks.{}.norm2.bias"},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.kernel", "stage{}.blocks.{}.mlp.fc1.weight", NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.bias", "stage{}.blocks.{}.mlp.fc1.bias"},
    NameRow{"stages.{}.blocks.{}.mlp.output.kernel", "stage{}.blocks.{}.mlp.fc2.weight", NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.mlp.output.bias", "stage{}.blocks.{}.mlp.fc2.bias"},
    NameRow{"norm.scale", "norm.weight"},
    NameRow{"norm.bias", "norm.bias"},
    NameRow{"head.kernel", "head.weight", NameLayout::transposed},
    NameRow{"head.bias", "head.bias"},
};

inline constexpr std::array cvt_hugging_face_rows{
    NameRow{"stages.{}.embedding.projection.kernel",
            "encoder.stages.{}.embedding.convolution_embeddings.projection.weight", NameLayout::convolution},
    NameRow{"stages.{}.embedding.projection.bias",
            "encoder.stages.{}.embedding.convolution_embeddings.projection.bias"},
    NameRow{"stages.{}.embedding.norm.scale",
            "encoder.stages.{}.embedding.convolution_embeddings.normalization.weight"},
    NameRow{"stages.{}.embedding.norm.bias", "encoder.stages.{}.embedding.convolution_embeddings.normalization.bias"},
    NameRow{"stages.{}.embedding.class_token", "encoder.stages.{}.cls_token", NameLayout::row},
    NameRow{"stages.{}.blocks.{}.norm1.scale", "encoder.stages.{}.layers.{}.layernorm_before.weight"},
    NameRow{"stages.{}.blocks.{}.norm1.bias", "encoder.stages.{}.layers.{}.layernorm_before.bias"},
    NameRow{"stages.{}.blocks.{}.attention.query.convolution.kernel",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_query.convolution_projection."
            "convolution.weight",
            NameLayout::depthwise},
    NameRow{"stages.{}.blocks.{}.attention.query.norm.scale",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_query.convolution_projection."
            "normalization.weight"},
    NameRow{"stages.{}.blocks.{}.attention.query.norm.bias",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_query.convolution_projection."
            "normalization.bias"},
    NameRow{"stages.{}.blocks.{}.attention.query.norm.running_mean",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_query.convolution_projection."
            "normalization.running_mean"},
    NameRow{"stages.{}.blocks.{}.attention.query.norm.running_variance",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_query.convolution_projection."
            "normalization.running_var"},
    NameRow{"stages.{}.blocks.{}.attention.query.kernel",
            "encoder.stages.{}.layers.{}.attention.attention.projection_query.weight", NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.query.bias",
            "encoder.stages.{}.layers.{}.attention.attention.projection_query.bias"},
    NameRow{"stages.{}.blocks.{}.attention.key.convolution.kernel",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_key.convolution_projection."
            "convolution.weight",
            NameLayout::depthwise},
    NameRow{"stages.{}.blocks.{}.attention.key.norm.scale",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_key.convolution_projection."
            "normalization.weight"},
    NameRow{"stages.{}.blocks.{}.attention.key.norm.bias",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_key.convolution_projection."
            "normalization.bias"},
    NameRow{"stages.{}.blocks.{}.attention.key.norm.running_mean",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_key.convolution_projection."
            "normalization.running_mean"},
    NameRow{"stages.{}.blocks.{}.attention.key.norm.running_variance",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_key.convolution_projection."
            "normalization.running_var"},
    NameRow{"stages.{}.blocks.{}.attention.key.kernel",
            "encoder.stages.{}.layers.{}.attention.attention.projection_key.weight", NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.key.bias",
            "encoder.stages.{}.layers.{}.attention.attention.projection_key.bias"},
    NameRow{"stages.{}.blocks.{}.attention.value.convolution.kernel",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_value.convolution_projection."
            "convolution.weight",
            NameLayout::depthwise},
    NameRow{"stages.{}.blocks.{}.attention.value.norm.scale",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_value.convolution_projection."
            "normalization.weight"},
    NameRow{"stages.{}.blocks.{}.attention.value.norm.bias",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_value.convolution_projection."
            "normalization.bias"},
    NameRow{"stages.{}.blocks.{}.attention.value.norm.running_mean",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_value.convolution_projection."
            "normalization.running_mean"},
    NameRow{"stages.{}.blocks.{}.attention.value.norm.running_variance",
            "encoder.stages.{}.layers.{}.attention.attention.convolution_projection_value.convolution_projection."
            "normalization.running_var"},
    NameRow{"stages.{}.blocks.{}.attention.value.kernel",
            "encoder.stages.{}.layers.{}.attention.attention.projection_value.weight", NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.value.bias",
            "encoder.stages.{}.layers.{}.attention.attention.projection_value.bias"},
    NameRow{"stages.{}.blocks.{}.attention.output.kernel", "encoder.stages.{}.layers.{}.attention.output.dense.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.attention.output.bias", "encoder.stages.{}.layers.{}.attention.output.dense.bias"},
    NameRow{"stages.{}.blocks.{}.norm2.scale", "encoder.stages.{}.layers.{}.layernorm_after.weight"},
    NameRow{"stages.{}.blocks.{}.norm2.bias", "encoder.stages.{}.layers.{}.layernorm_after.bias"},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.kernel", "encoder.stages.{}.layers.{}.intermediate.dense.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.bias", "encoder.stages.{}.layers.{}.intermediate.dense.bias"},
    NameRow{"stages.{}.blocks.{}.mlp.output.kernel", "encoder.stages.{}.layers.{}.output.dense.weight",
            NameLayout::transposed},
    NameRow{"stages.{}.blocks.{}.mlp.output.bias", "encoder.stages.{}.layers.{}.output.dense.bias"},
    NameRow{"norm.scale", "layernorm.weight"},
    NameRow{"norm.bias", "layernorm.bias"},
    NameRow{"head.kernel", "classifier.weight", NameLayout::transposed},
    NameRow{"head.bias", "classifier.bias"},
};

inline constexpr std::array<std::string_view, 1> cvt_buffers{".num_batches_tracked"};
inline constexpr std::array<std::string_view, 1> cvt_hugging_face_prefixes{"cvt."};
inline constexpr NameTable cvt_names{Naming::cvt, "cvt", cvt_rows, PositionResampling::bicubic, {}, cvt_buffers};
inline constexpr NameTable cvt_hugging_face_names{Naming::cvt_hugging_face,  "cvt_hugging_face",
                                                  cvt_hugging_face_rows,     PositionResampling::bicubic,
                                                  cvt_hugging_face_prefixes, cvt_buffers};

}  // namespace moevit
