/// CvT-13 and its layers.
#include "hierarchical/make_network.hpp"

#include <moevit/models/cvt_presets.hpp>

namespace moevit::bench {
namespace {

constexpr ModelDescription cvt = presets::cvt_13;

template <Index stage>
Network attention_of(RunSize size) {
  using Attention = typename CvtFamily<cvt.cvt, cvt.moe, OwnExperts>::template Attention<stage>;
  return attention_network<Attention>(cvt.cvt.map(stage), 0, detail::cvt_attention_multiply_adds(cvt.cvt, stage), size);
}

}  // namespace

Network cvt_13(const std::string& precision, RunSize size) { return model_network<cvt>(precision, size); }

Network convolutional_attention(Index stage, RunSize size) {
  switch (stage) {
    case 0:
      return attention_of<0>(size);
    case 1:
      return attention_of<1>(size);
    case 2:
      return attention_of<2>(size);
  }
  fail("convolutional attention: expected a stage of 0 to 2, found ", stage);
}

}  // namespace moevit::bench
