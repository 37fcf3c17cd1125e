/// FCOS (Tian et al. 2019): a detector's head that predicts a box at every place of a feature pyramid.
#pragma once

#include <moevit/models/fcos_levels.hpp>
#include <moevit/models/fcos_towers.hpp>
#include <moevit/models/feature_pyramid.hpp>

#include <array>
#include <cmath>
#include <span>
#include <string>

namespace moevit {

/// The numbers that name an FCOS head.
struct FcosConfig {
  Index width = 256;       ///< channels of the pyramid and the towers
  Index classes = 80;      ///< without background
  Index first_stage = 1;   ///< of the backbone, whose map is the finest level
  Index extra_levels = 2;  ///< coarser than the last stage
  Index towers = 4;        ///< layers of each tower
  Index groups = 32;       ///< of the group norms

  constexpr bool operator==(const FcosConfig&) const = default;
};

/// Pyramid and towers over maps with `inputs` channels and `strides` pixels between places, the finest first. Its
/// outputs are what FcosOutputs shows; a distance is stride * exp(scale * x) with a learned scale for each level, cut
/// off where exp would lead beyond any image.
template <FcosConfig config_, std::array inputs, std::array strides>
class FcosHead {
  static constexpr auto first = static_cast<std::size_t>(config_.first_stage);
  static constexpr std::size_t maps = inputs.size() - first;
  static_assert(first < inputs.size() && inputs.size() == strides.size(), "FcosHead: expected a map to read");
  static_assert(config_.classes > 0 && config_.extra_levels >= 0, "FcosHead: expected at least one class");

  static constexpr auto pyramid_inputs = [] {
    std::array<Index, maps> list{};
    for (std::size_t i = 0; i < maps; ++i) list[i] = inputs[first + i];
    return list;
  }();
  using Pyramid = FeaturePyramid<pyramid_inputs, config_.width, config_.extra_levels>;
  using Towers = FcosTowers<config_.width, config_.classes, config_.towers, config_.groups>;
  using LevelSizes = typename Pyramid::Sizes;

 public:
  static constexpr FcosConfig config = config_;
  static constexpr std::size_t levels = Pyramid::levels;
  static constexpr float largest_exponent = 10.f;
  using Sizes = std::array<MapSize, inputs.size()>;

  FcosHead() { scales_.fill(1.f); }

  static constexpr bool reads(std::size_t stage) { return stage >= first; }
  static constexpr std::array<FcosLevel, levels> level_list(const Sizes& sizes) {
    const LevelSizes all = level_sizes(sizes);
    std::array<FcosLevel, levels> list{};
    for (std::size_t i = 0; i < levels; ++i) list[i] = {all[i], i < maps ? strides[first + i] : 2 * list[i - 1].stride};
    return list;
  }
  static constexpr Index output_values(Index images, const Sizes& sizes) {
    return images * places_of(level_list(sizes)) * (config.classes + box_values);
  }

  /// Arrays of one pass; those of training only are null in others, which use one set for all levels.
  struct Saved {
    typename Pyramid::Saved pyramid;
    std::array<typename Towers::Saved, levels> towers{};
    std::array<float*, levels> exponents{};  ///< training only: rows x 4, times their scale they are of the distances
  };
  template <class Memory>
  static constexpr Saved take_saved(Index images, const Sizes& sizes, bool is_training, Memory& memory) {
    const LevelSizes all = level_sizes(sizes);
    Saved saved;
    saved.pyramid = Pyramid::take_saved(images, all, memory);
    if (!is_training) saved.towers.fill(Towers::take_saved(images, largest(all), false, memory));
    for (std::size_t i = 0; is_training && i < levels; ++i) {
      saved.towers[i] = Towers::take_saved(images, all[i], true, memory);
      saved.exponents[i] = memory.template take<float>(images * all[i].places() * 4);
    }
    return saved;
  }
  static constexpr Index saved_bytes(Index images, const Sizes& sizes, bool is_training) {
    ArenaBytes bytes;
    take_saved(images, sizes, is_training, bytes);
    return bytes.bytes();
  }

  /// Of the products of one image.
  static constexpr Index multiply_adds(const Sizes& sizes) {
    const LevelSizes all = level_sizes(sizes);
    Index count = Pyramid::multiply_adds(all);
    for (const MapSize& size : all) count += Towers::multiply_adds(size);
    return count;
  }

  static constexpr ScratchBytes scratch(Index images, const Sizes& sizes) {
    const LevelSizes all = level_sizes(sizes);
    ScratchBytes bytes = Pyramid::scratch(images, all);
    for (const MapSize& size : all) bytes = one_after_the_other(bytes, Towers::scratch(images, size));
    return bytes;
  }

  /// maps: one per stage; those that are not read may have no rows.
  void forward(std::span<const MatrixView> from, const Sizes& sizes, Index images, const Saved& saved, float* outputs,
               Workspace& workspace) const {
    const LevelSizes all = level_sizes(sizes);
    const auto list = level_list(sizes);
    const FcosOutputs<float> out(outputs, images, config.classes, list);
    pyramid_.forward(from.subspan(first), all, images, saved.pyramid, workspace);
    for (std::size_t i = 0; i < levels; ++i) {
      const MatrixView boxes = out.boxes(i);
      towers_.forward(Pyramid::rows(saved.pyramid.level[i], images, all[i]), all[i], images, saved.towers[i],
                      out.classes(i), boxes, workspace);
      for (Index row = 0; row < boxes.rows(); ++row)
        for (Index side = 0; side < 4; ++side) {
          float& value = boxes(row, side);
          if (saved.exponents[i]) saved.exponents[i][row * 4 + side] = value;
          value = static_cast<float>(list[i].stride) * std::exp(std::min(scales_[i] * value, largest_exponent));
        }
    }
  }

  /// From d_outputs, the gradient of the outputs as FcosOutputs shows it, and what the training pass saved: adds to
  /// grads and assigns d_maps.
  void backward(std::span<const MatrixView> from, const Sizes& sizes, Index images, const Saved& saved,
                const float* d_outputs, FcosHead& grads, std::span<const MatrixView> d_maps,
                Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const LevelSizes all = level_sizes(sizes);
    const auto list = level_list(sizes);
    const Rooms rooms = take_rooms(images, all, workspace.shared());
    const FcosOutputs<const float> d_out(d_outputs, images, config.classes, list);
    for (std::size_t i = 0; i < levels; ++i) {
      const MatrixView d_boxes(rooms.boxes, images * all[i].places(), box_values);
      distances_backward(i, list[i].stride, saved, d_out.boxes(i), grads, d_boxes);
      towers_.backward(Pyramid::rows(saved.pyramid.level[i], images, all[i]), all[i], images, saved.towers[i],
                       d_out.classes(i), d_boxes, grads.towers_, Pyramid::rows(rooms.d_levels[i], images, all[i]),
                       workspace);
    }
    pyramid_.backward(from.subspan(first), all, images, saved.pyramid, rooms.d_levels, grads.pyramid_,
                      d_maps.subspan(first), workspace);
  }
  static constexpr ScratchBytes training_scratch(Index images, const Sizes& sizes) {
    const LevelSizes all = level_sizes(sizes);
    ArenaBytes rooms;
    take_rooms(images, all, rooms);
    ScratchBytes bytes = Pyramid::training_scratch(images, all);
    for (const MapSize& size : all) bytes = one_after_the_other(bytes, Towers::training_scratch(images, size));
    return {rooms.bytes() + bytes.shared, bytes.per_worker};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Pyramid::each_parameter(self.pyramid_, join_name(prefix, "pyramid"), visit);
    Towers::each_parameter(self.towers_, prefix, visit);
    for (std::size_t i = 0; i < levels; ++i)
      visit(plain_parameter<ParameterValue<Self>>(join_name(prefix, numbered_name("levels.", i).append(".scale")),
                                                  &self.scales_[i], {1}, Role::norm));
  }

 private:
  static constexpr LevelSizes level_sizes(const Sizes& sizes) {
    std::array<MapSize, maps> read{};
    for (std::size_t i = 0; i < maps; ++i) read[i] = sizes[first + i];
    return Pyramid::level_sizes(read);
  }
  /// Levels behind the first may be larger on one side only when maps are given that way.
  static constexpr MapSize largest(const LevelSizes& all) {
    MapSize most;
    for (const MapSize& size : all)
      if (size.places() > most.places()) most = size;
    return most;
  }

  struct Rooms {
    float* boxes = nullptr;
    std::array<float*, levels> d_levels{};
  };
  template <class Memory>
  static constexpr Rooms take_rooms(Index images, const LevelSizes& all, Memory& memory) {
    Rooms rooms;
    rooms.boxes = memory.template take<float>(images * largest(all).places() * box_values);
    for (std::size_t i = 0; i < levels; ++i)
      rooms.d_levels[i] = memory.template take<float>(images * all[i].places() * config.width);
    return rooms;
  }

  /// d_raw = the gradient of what the towers give, from that of distances and centre-ness; that of the level's scale is
  /// added to grads.
  void distances_backward(std::size_t level, Index stride, const Saved& saved, ConstMatrixView d_boxes, FcosHead& grads,
                          MatrixView d_raw) const {
    const float scale = scales_[level];
    double d_scale = 0.;
    for (Index row = 0; row < d_boxes.rows(); ++row) {
      for (Index side = 0; side < 4; ++side) {
        const float x = saved.exponents[level][row * 4 + side];
        const bool is_cut = scale * x > largest_exponent;
        const float d = is_cut ? 0.f : d_boxes.row_data(row)[side] * static_cast<float>(stride) * std::exp(scale * x);
        d_raw(row, side) = d * scale;
        d_scale += static_cast<double>(d) * static_cast<double>(x);
      }
      d_raw(row, 4) = d_boxes.row_data(row)[4];
    }
    grads.scales_[level] += static_cast<float>(d_scale);
  }

  Pyramid pyramid_;
  Towers towers_;
  std::array<float, levels> scales_{};
};

}  // namespace moevit
