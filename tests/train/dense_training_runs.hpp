/// Tiny segmenters and detectors and images for them, for the tests of their training.
#pragma once

#include "io/detection_files.hpp"
#include "io/image_encoders.hpp"
#include "io/temporary_folder.hpp"
#include "train/resumed_runs.hpp"

#include <moevit/models/swin.hpp>
#include <moevit/train/dense_training.hpp>

namespace moevit::test {

inline constexpr SwinConfig tiny_backbone{.image = 16,
                                          .patch = 2,
                                          .channels = 1,
                                          .dim = 8,
                                          .depths = {1, 1, 0, 0},
                                          .heads = {2, 2, 0, 0},
                                          .window = 4,
                                          .mlp_ratio = 2.f,
                                          .form = WindowForm::pad,
                                          .output_norms = {true, true, false, false}};
inline constexpr MoeConfig tiny_experts{.experts = 3, .selected = 1, .placement = blocks({1})};
struct TinySegmenter : Segmenter<Swin<tiny_backbone>, UperNetConfig{.width = 8, .classes = 3, .groups = 2}> {};
inline constexpr FcosConfig tiny_fcos{
    .width = 16, .classes = 2, .first_stage = 0, .extra_levels = 1, .towers = 1, .groups = 2};
struct TinyDetector : Detector<Swin<tiny_backbone, tiny_experts>, tiny_fcos> {};

/// The bytes of a grey image as a file.
inline void write_pgm(const std::filesystem::path& path, Index height, Index width, const std::string& pixels) {
  write_text(path, "P5 " + std::to_string(width) + " " + std::to_string(height) + " 255\n" + pixels);
}

/// Images of 16 x 18 pixels in three classes: background, a bright rectangle, a grey one; and noise.
struct TwoRectangles : TemporaryFolder {
  static constexpr Index height = 16, width = 18;

  explicit TwoRectangles(Index count) {
    annotations.class_names = {"bright", "grey"};
    for (Index i = 0; i < count; ++i) {
      RandomStream random(5, i);
      std::string pixels;
      for (Index place = 0; place < height * width; ++place) pixels.push_back(static_cast<char>(random.below(40)));
      PngRecipe mask{.height = int{height}, .width = int{width}, .color_type = PNG_COLOR_TYPE_GRAY};
      mask.rows.assign(std::size_t{height}, std::vector<std::uint8_t>(std::size_t{width}, 0));
      const std::string name = std::to_string(100 + i);
      AnnotatedImage image{path() / "train/images" / (name + ".pgm"), height, width, {}};
      for (Index kind = 0; kind < 2; ++kind) {
        const Index top = 1 + random.below(6), left = kind * 9 + random.below(3);
        const Index side = 5 + random.below(2);
        for (Index row = top; row < top + side; ++row)
          for (Index column = left; column < left + side; ++column) {
            pixels[static_cast<std::size_t>(row * width + column)] =
                static_cast<char>((kind == 0 ? 215 : 110) + random.below(40));
            mask.rows[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)] =
                static_cast<std::uint8_t>(kind + 1);
          }
        image.objects.push_back({{double(left), double(top), double(side), double(side)},
                                 static_cast<std::int32_t>(kind),
                                 double(side * side)});
      }
      write_pgm(image.path, height, width, pixels);
      std::filesystem::create_directories(path() / "train/masks");
      write_bytes(path() / "train/masks" / (name + ".png"), encode_png(mask));
      annotations.images.push_back(image);
    }
  }
  SegmentationDataset segmentation() const {
    return SegmentationDataset::of_folders(path(), {.class_names = {"background", "bright", "grey"}});
  }
  DetectionDataset detection() const { return DetectionDataset(annotations); }

  DetectionAnnotations annotations;
};

/// Windows of 16 x 16 pixels.
inline TrainerOptions dense_options(const std::filesystem::path& folder) {
  TrainerOptions options;
  options.folder = folder;
  options.steps = 12;
  options.seed = 3;
  options.loader.batch = 4;
  options.schedule = {.peak = 1e-2, .warmup = 4};
  options.drop.stochastic_depth = 0.1;
  options.router.losses.load = 0.01;
  options.router.noise_std = 0.5;
  options.dense.augmentation = {.min_scale = 0.9, .max_scale = 1.2, .place = WindowPlace::random, .flip = 0.5};
  options.dense.backbone_rate = 0.5;
  options.averaging = AveragingOptions{.decay = 0.9, .warm_up = true};
  options.evaluate_every = 6;
  options.checkpoint_every = 5;
  options.log_every = 4;
  return options;
}

/// One run, or what is left of one that was ended behind step `last`.
template <class Net, class Data>
TrainingResult train_dense(const Data& dataset, const TrainerOptions& options, Index last = 0) {
  Net net;
  initialise(net.parameters(), {.seed = options.seed});
  net.set_preprocessing({.height = 16, .width = 16, .channels = 1, .shorter_side = 16});
  if constexpr (std::is_same_v<Data, DetectionDataset>) start_with_rare_objects(net.parameters());
  Trainer trainer(net, {dataset, validation_split(dataset)}, options);
  KillAt killer(last);
  return trainer.run(killer);
}

}  // namespace moevit::test
