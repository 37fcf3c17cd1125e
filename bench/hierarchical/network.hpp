/// Hierarchical models, their layers, and heads of dense tasks, with random weights and behind one interface, so that
/// the programs that time them share one compilation.
#pragma once

#include <moevit/core/parameter.hpp>

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace moevit::bench {

/// How a network is run.
struct RunSize {
  Index images = 1;
  Index threads = 1;
};

/// Something that makes outputs from inputs; its weights live as long as `run`.
struct Network {
  Index input_values = 0;     ///< floats of one input
  Index output_values = 0;    ///< floats of one output
  double multiply_adds = 0.;  ///< of a run
  std::vector<Parameter> parameters;
  std::function<void(std::span<const float> input, std::span<float> output)> run;
};

/// Swin-T and CvT-13 from normalised images of 224 pixels to logits. `precision`: fp32, bf16, bf16 weights or int8;
/// throws Error for others.
Network swin_tiny(const std::string& precision, RunSize size);
Network cvt_13(const std::string& precision, RunSize size);

/// stream + attention(norm(stream)) of block 0 or 1 (shifted windows) of a stage of Swin-T, and of a stage of CvT-13,
/// at 224 pixels. Parameters begin with norm and attention.
Network window_attention(Index stage, Index block, RunSize size);
Network convolutional_attention(Index stage, RunSize size);

/// Heads over the maps of Swin-T at 224 pixels, which lie one behind the other in an input, the finest first.
/// Parameters begin with head.
Network upernet_head(RunSize size);
Network fcos_head(RunSize size);

/// A 3 x 3 convolution with bias of `width` channels, 256 or 512, over a square map. Parameters begin with layer.
Network convolution_3x3(Index width, Index side, RunSize size);

}  // namespace moevit::bench
