/// Our own names. The table serves to recognise them; any further name is its own name as well.
#pragma once

#include <moevit/io/naming/table.hpp>

#include <array>

namespace moevit {

inline constexpr std::array own_rows{
    NameRow{"patch_embedding.kernel", "patch_embedding.kernel"},
    NameRow{"patch_embedding.bias", "patch_embedding.bias"},
    NameRow{"class_token", "class_token"},
    NameRow{"position_embedding", "position_embedding"},
    NameRow{"blocks.{}.norm1.scale", "blocks.{}.norm1.scale"},
    NameRow{"blocks.{}.norm1.bias", "blocks.{}.norm1.bias"},
    NameRow{"blocks.{}.attention.query.kernel", "blocks.{}.attention.query.kernel"},
    NameRow{"blocks.{}.attention.key.kernel", "blocks.{}.attention.key.kernel"},
    NameRow{"blocks.{}.attention.value.kernel", "blocks.{}.attention.value.kernel"},
    NameRow{"blocks.{}.attention.output.kernel", "blocks.{}.attention.output.kernel"},
    NameRow{"blocks.{}.norm2.scale", "blocks.{}.norm2.scale"},
    NameRow{"blocks.{}.norm2.bias", "blocks.{}.norm2.bias"},
    NameRow{"blocks.{}.mlp.hidden.kernel", "blocks.{}.mlp.hidden.kernel"},
    NameRow{"blocks.{}.mlp.output.kernel", "blocks.{}.mlp.output.kernel"},
    NameRow{"blocks.{}.moe.router.kernel", "blocks.{}.moe.router.kernel"},
    NameRow{"blocks.{}.moe.experts.hidden.kernel", "blocks.{}.moe.experts.hidden.kernel"},
    NameRow{"blocks.{}.moe.experts.output.kernel", "blocks.{}.moe.experts.output.kernel"},
    NameRow{"stages.{}.embedding.norm.scale", "stages.{}.embedding.norm.scale"},
    NameRow{"stages.{}.embedding.norm.bias", "stages.{}.embedding.norm.bias"},
    NameRow{"stages.{}.blocks.{}.norm1.scale", "stages.{}.blocks.{}.norm1.scale"},
    NameRow{"stages.{}.blocks.{}.norm1.bias", "stages.{}.blocks.{}.norm1.bias"},
    NameRow{"stages.{}.blocks.{}.attention.query.kernel", "stages.{}.blocks.{}.attention.query.kernel"},
    NameRow{"stages.{}.blocks.{}.attention.output.kernel", "stages.{}.blocks.{}.attention.output.kernel"},
    NameRow{"stages.{}.blocks.{}.mlp.hidden.kernel", "stages.{}.blocks.{}.mlp.hidden.kernel"},
    NameRow{"stages.{}.blocks.{}.mlp.output.kernel", "stages.{}.blocks.{}.mlp.output.kernel"},
    NameRow{"backbone.stages.{}.embedding.norm.scale", "backbone.stages.{}.embedding.norm.scale"},
    NameRow{"backbone.stages.{}.blocks.{}.norm1.scale", "backbone.stages.{}.blocks.{}.norm1.scale"},
    NameRow{"backbone.stages.{}.blocks.{}.norm2.scale", "backbone.stages.{}.blocks.{}.norm2.scale"},
    NameRow{"norm.scale", "norm.scale"},
    NameRow{"norm.bias", "norm.bias"},
    NameRow{"head.kernel", "head.kernel"},
    NameRow{"head.bias", "head.bias"},
};

inline constexpr NameTable own_names{Naming::own, "own", own_rows};

}  // namespace moevit
