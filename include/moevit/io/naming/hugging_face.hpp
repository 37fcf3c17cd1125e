/// Names of the ViT of Hugging Face transformers: those of versions up to 4, and the shorter ones of later versions.
#pragma once

#include <moevit/io/naming/table.hpp>

#include <array>
#include <string_view>

namespace moevit {

inline constexpr std::array hugging_face_rows{
    NameRow{"patch_embedding.kernel", "embeddings.patch_embeddings.projection.weight", NameLayout::convolution},
    NameRow{"patch_embedding.bias", "embeddings.patch_embeddings.projection.bias"},
    NameRow{"class_token", "embeddings.cls_token", NameLayout::row},
    NameRow{"position_embedding", "embeddings.position_embeddings", NameLayout::rows},
    NameRow{"blocks.{}.norm1.scale", "encoder.layer.{}.layernorm_before.weight"},
    NameRow{"blocks.{}.norm1.bias", "encoder.layer.{}.layernorm_before.bias"},
    NameRow{"blocks.{}.attention.query.kernel", "encoder.layer.{}.attention.attention.query.weight",
            NameLayout::transposed},
    NameRow{"blocks.{}.attention.query.bias", "encoder.layer.{}.attention.attention.query.bias"},
    NameRow{"blocks.{}.attention.key.kernel", "encoder.layer.{}.attention.attention.key.weight",
            NameLayout::transposed},
    NameRow{"blocks.{}.attention.key.bias", "encoder.layer.{}.attention.attention.key.bias"},
    NameRow{"blocks.{}.attention.value.kernel", "encoder.layer.{}.attention.attention.value.weight",
            NameLayout::transposed},
    NameRow{"blocks.{}.attention.value.bias", "encoder.layer.{}.attention.attention.value.bias"},
    NameRow{"blocks.{}.attention.output.kernel", "encoder.layer.{}.attention.output.dense.weight",
            NameLayout::transposed},
    NameRow{"blocks.{}.attention.output.bias", "encoder.layer.{}.attention.output.dense.bias"},
    NameRow{"blocks.{}.norm2.scale", "encoder.layer.{}.layernorm_after.weight"},
    NameRow{"blocks.{}.norm2.bias", "encoder.layer.{}.layernorm_after.bias"},
    NameRow{"blocks.{}.mlp.hidden.kernel", "encoder.layer.{}.intermediate.dense.weight", NameLayout::transposed},
    NameRow{"blocks.{}.mlp.hidden.bias", "encoder.layer.{}.intermediate.dense.bias"},
    NameRow{"blocks.{}.mlp.output.kernel", "encoder.layer.{}.output.dense.weight", NameLayout::transposed},
    NameRow{"blocks.{}.mlp.output.bias", "encoder.layer.{}.output.dense.bias"},
    NameRow{"norm.scale", "layernorm.weight"},
    NameRow{"norm.bias", "layernorm.bias"},
    NameRow{"representation.kernel", "pooler.dense.weight", NameLayout::transposed},
    NameRow{"representation.bias", "pooler.dense.bias"},
    NameRow{"head.kernel", "classifier.weight", NameLayout::transposed},
    NameRow{"head.bias", "classifier.bias"},
};

inline constexpr std::array hugging_face_5_rows{
    NameRow{"patch_embedding.kernel", "embeddings.patch_embeddings.projection.weight", NameLayout::convolution},
    NameRow{"patch_embedding.bias", "embeddings.patch_embeddings.projection.bias"},
    NameRow{"class_token", "embeddings.cls_token", NameLayout::row},
    NameRow{"position_embedding", "embeddings.position_embeddings", NameLayout::rows},
    NameRow{"blocks.{}.norm1.scale", "layers.{}.layernorm_before.weight"},
    NameRow{"blocks.{}.norm1.bias", "layers.{}.layernorm_before.bias"},
    NameRow{"blocks.{}.attention.query.kernel", "layers.{}.attention.q_proj.weight", NameLayout::transposed},
    NameRow{"blocks.{}.attention.query.bias", "layers.{}.attention.q_proj.bias"},
    NameRow{"blocks.{}.attention.key.kernel", "layers.{}.attention.k_proj.weight", NameLayout::transposed},
    NameRow{"blocks.{}.attention.key.bias", "layers.{}.attention.k_proj.bias"},
    NameRow{"blocks.{}.attention.value.kernel", "layers.{}.attention.v_proj.weight", NameLayout::transposed},
    NameRow{"blocks.{}.attention.value.bias", "layers.{}.attention.v_proj.bias"},
    NameRow{"blocks.{}.attention.output.kernel", "layers.{}.attention.o_proj.weight", NameLayout::transposed},
    NameRow{"blocks.{}.attention.output.bias", "layers.{}.attention.o_proj.bias"},
    NameRow{"blocks.{}.norm2.scale", "layers.{}.layernorm_after.weight"},
    NameRow{"blocks.{}.norm2.bias", "layers.{}.layernorm_after.bias"},
    NameRow{"blocks.{}.mlp.hidden.kernel", "layers.{}.mlp.fc1.weight", NameLayout::transposed},
    NameRow{"blocks.{}.mlp.hidden.bias", "layers.{}.mlp.fc1.bias"},
    NameRow{"blocks.{}.mlp.output.kernel", "layers.{}.mlp.fc2.weight", NameLayout::transposed},
    NameRow{"blocks.{}.mlp.output.bias", "layers.{}.mlp.fc2.bias"},
    NameRow{"norm.scale", "layernorm.weight"},
    NameRow{"norm.bias", "layernorm.bias"},
    NameRow{"representation.kernel", "pooler.dense.weight", NameLayout::transposed},
    NameRow{"representation.bias", "pooler.dense.bias"},
    NameRow{"head.kernel", "classifier.weight", NameLayout::transposed},
    NameRow{"head.bias", "classifier.bias"},
};

inline constexpr std::array<std::string_view, 1> hugging_face_prefixes{"vit."};  // everything but the classifier has it
inline constexpr NameTable hugging_face_names{Naming::hugging_face, "hugging_face", hugging_face_rows,
                                              PositionResampling::bicubic, hugging_face_prefixes};
inline constexpr NameTable hugging_face_5_names{Naming::hugging_face, "hugging_face (version 5)", hugging_face_5_rows,
                                                PositionResampling::bicubic, hugging_face_prefixes};

}  // namespace moevit
