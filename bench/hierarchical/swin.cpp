/// Swin-T and its layers.
#include "hierarchical/make_network.hpp"

#include <moevit/models/swin_presets.hpp>

namespace moevit::bench {
namespace {

constexpr ModelDescription tiny = presets::swin_t;

template <Index stage>
Network attention_of(Index block, RunSize size) {
  using Attention = typename SwinFamily<tiny.swin, tiny.moe, OwnExperts>::template Attention<stage>;
  const MapSize map = tiny.swin.map(stage);
  const Index window = tiny.swin.stage_window(stage), dim = Attention::dim, places = map.places();
  const Index padded = round_up(map.height, window) * round_up(map.width, window);
  return attention_network<Attention>(
      map, block, padded * 3 * dim * dim + 2 * padded * window * window * dim + places * dim * dim, size);
}

}  // namespace

Network swin_tiny(const std::string& precision, RunSize size) { return model_network<tiny>(precision, size); }

Network window_attention(Index stage, Index block, RunSize size) {
  switch (stage) {
    case 0:
      return attention_of<0>(block, size);
    case 1:
      return attention_of<1>(block, size);
    case 2:
      return attention_of<2>(block, size);
    case 3:
      return attention_of<3>(block, size);
  }
  fail("window attention: expected a stage of 0 to 3, found ", stage);
}

}  // namespace moevit::bench
