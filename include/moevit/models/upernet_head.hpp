/// UPerNet (Xiao et al. 2018): the head of semantic segmentation that reads the maps of all stages of a backbone.
#pragma once

#include <moevit/models/pyramid_pooling.hpp>

#include <array>
#include <span>
#include <string>
#include <tuple>
#include <utility>

namespace moevit {

/// The numbers that name a UPerNet head.
struct UperNetConfig {
  Index width = 512;    ///< channels of all its maps
  Index classes = 150;  ///< channels of the result
  Index groups = 32;    ///< of the group norms

  constexpr bool operator==(const UperNetConfig&) const = default;
};

/// Pyramid pooling of the last map; from there down a feature pyramid: each map is reduced to `width` channels, what
/// comes from above is resized and added, and a 3 x 3 convolution follows; all levels, resized to the first, are fused
/// by another one, and classified place by place. `inputs`: channels of the maps, the finest first. Without dropout.
template <UperNetConfig config_, std::array inputs>
class UperNetHead {
  static constexpr std::size_t levels = inputs.size();
  static constexpr Index width = config_.width, groups = config_.groups;
  static constexpr Index fused_columns = static_cast<Index>(levels) * width;
  static_assert(levels > 0 && config_.classes > 0, "UperNetHead: expected at least one map and one class");

  using Pooling = PyramidPooling<inputs[levels - 1], width, groups>;
  using Smoothing = NormedConvolution<width, width, ConvolutionWindow{3, 1, 1}, groups>;
  using Fusion = NormedConvolution<fused_columns, width, ConvolutionWindow{3, 1, 1}, groups>;
  using Classifier = Convolution<width, config_.classes, ConvolutionWindow{1, 1, 0}>;
  template <std::size_t level>
  using Lateral = NormedConvolution<inputs[level], width, ConvolutionWindow{1, 1, 0}, groups>;
  template <std::size_t... numbers>
  static auto laterals_of(std::index_sequence<numbers...>) -> std::tuple<Lateral<numbers>...>;
  using Laterals = decltype(laterals_of(std::make_index_sequence<levels - 1>()));

  /// f(constant with the number of the level) for all but the last, the finest first.
  template <class F>
  static constexpr void each_lateral(F f) {
    [&]<std::size_t... numbers>(std::index_sequence<numbers...>) {
      (f(std::integral_constant<std::size_t, numbers>()), ...);
    }
    (std::make_index_sequence<levels - 1>());
  }

 public:
  static constexpr UperNetConfig config = config_;
  using Sizes = std::array<MapSize, levels>;  ///< of the maps

  static constexpr bool reads(std::size_t) { return true; }
  /// Floats of the result.
  static constexpr Index output_values(Index images, const Sizes& sizes) {
    return images * sizes[0].places() * config.classes;
  }

  /// Arrays of one pass; those of training only are null in others.
  struct Saved {
    struct Level {
      float *lateral = nullptr, *lateral_sums = nullptr;  ///< not of the last level; sums: training only
      float* merged = nullptr;
      float *smooth = nullptr, *smooth_sums = nullptr;  ///< not of the last level, nor `smooth` of the first
    };
    typename Pooling::Saved pooling;
    std::array<Level, levels> list{};
    float* columns = nullptr;  ///< all levels at the size of the first, side by side
    float *fused = nullptr, *fused_sums = nullptr;
  };
  template <class Memory>
  static constexpr Saved take_saved(Index images, const Sizes& sizes, bool is_training, Memory& memory) {
    const auto take = [&](Index count) { return memory.template take<float>(count); };
    const auto rows = [&](std::size_t level) { return images * sizes[level].places(); };
    Saved saved;
    saved.pooling = Pooling::take_saved(images, sizes[levels - 1], is_training, memory);
    for (std::size_t i = 0; i < levels; ++i) {
      auto& level = saved.list[i];
      level.merged = take(rows(i) * width);
      if (i + 1 == levels) continue;
      level.lateral = take(rows(i) * width);
      if (i > 0) level.smooth = take(rows(i) * width);
      if (!is_training) continue;
      level.lateral_sums = take(rows(i) * width);
      level.smooth_sums = take(rows(i) * width);
    }
    saved.columns = take(rows(0) * fused_columns);
    saved.fused = take(rows(0) * width);
    if (is_training) saved.fused_sums = take(rows(0) * width);
    return saved;
  }
  static constexpr Index saved_bytes(Index images, const Sizes& sizes, bool is_training) {
    ArenaBytes bytes;
    take_saved(images, sizes, is_training, bytes);
    return bytes.bytes();
  }

  /// Scratch of forward() beside what it saves.
  static constexpr ScratchBytes scratch(Index images, const Sizes& sizes) {
    ScratchBytes bytes = one_after_the_other(
        Pooling::scratch(images, sizes[levels - 1]),
        one_after_the_other(Fusion::scratch(images, sizes[0]), Classifier::scratch(images, sizes[0])));
    each_lateral([&](auto level) {
      bytes = one_after_the_other(bytes, one_after_the_other(Lateral<level>::scratch(images, sizes[level]),
                                                             Smoothing::scratch(images, sizes[level])));
    });
    return bytes;
  }

  /// outputs: logits, (images * places of the first map) x classes, from maps[i]: (images * sizes[i].places()) x
  /// inputs[i].
  void forward(std::span<const MatrixView> maps, const Sizes& sizes, Index images, const Saved& saved, float* outputs,
               Workspace& workspace) const {
    const Views views{saved, sizes, images};
    pooling_.forward(maps[levels - 1], sizes[levels - 1], images, saved.pooling, views.merged(levels - 1), workspace);
    each_lateral([&](auto reversed) {
      constexpr std::size_t level = levels - 2 - reversed;
      const auto& own = saved.list[level];
      const MatrixView lateral = views.lateral(level), merged = views.merged(level);
      std::get<level>(laterals_).forward(maps[level], sizes[level], images, own.lateral_sums, lateral, workspace);
      resize_map(views.merged(level + 1), sizes[level + 1], images, merged, sizes[level], workspace);
      add_rows(lateral, merged, workspace);
      smoothing_[level].forward(merged, sizes[level], images, own.smooth_sums, views.smooth(level), workspace);
    });
    for (std::size_t level = 1; level < levels; ++level)
      resize_map(views.smooth(level), sizes[level], images, views.column(level), sizes[0], workspace);
    if constexpr (levels == 1) copy_rows(views.merged(0), views.column(0), workspace);
    fusion_.forward(views.columns(), sizes[0], images, saved.fused_sums, views.fused(), workspace);
    classifier_.forward(views.fused(), sizes[0], images, logits_of(outputs, images, sizes), workspace);
  }

  /// From d_outputs, the gradient of the logits, and what the training pass saved: adds to grads and assigns d_maps.
  void backward(std::span<const MatrixView> maps, const Sizes& sizes, Index images, const Saved& saved,
                const float* d_outputs, UperNetHead& grads, std::span<const MatrixView> d_maps,
                Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Rooms rooms = take_rooms(images, sizes, workspace.shared());
    const Views views{saved, sizes, images};
    const auto room = [&](float* data, std::size_t level) {
      return MatrixView(data, images * sizes[level].places(), width);
    };
    const MatrixView d_fused = room(rooms.room, 0), d_columns(rooms.columns, d_fused.rows(), fused_columns);
    classifier_.backward(views.fused(), logits_of(d_outputs, images, sizes), sizes[0], images, grads.classifier_,
                         d_fused, workspace);
    fusion_.backward(views.columns(), sizes[0], images, saved.fused_sums, views.fused(), d_fused, grads.fusion_,
                     d_columns, workspace);
    const auto from_below = [&](std::size_t level) { return room(rooms.below[(level + 1) % 2], level); };
    each_lateral([&](auto constant) {
      constexpr std::size_t level = constant;
      const auto& own = saved.list[level];
      const MatrixView d_merged = room(rooms.merged[level % 2], level);
      const MatrixView d_smooth = level == 0 ? d_columns.columns_of(0, width) : room(rooms.room, level);
      if (level > 0)
        resize_map_backward(column_of(d_columns, level), sizes[0], images, d_smooth, sizes[level], workspace);
      smoothing_[level].backward(views.merged(level), sizes[level], images, own.smooth_sums, views.smooth(level),
                                 d_smooth, grads.smoothing_[level], d_merged, workspace);
      if (level > 0) add_rows(from_below(level), d_merged, workspace);
      resize_map_backward(d_merged, sizes[level], images, from_below(level + 1), sizes[level + 1], workspace);
      std::get<level>(laterals_).backward(maps[level], sizes[level], images, own.lateral_sums, views.lateral(level),
                                          d_merged, std::get<level>(grads.laterals_), d_maps[level], workspace);
    });
    last_backward(sizes, images, saved, column_of(d_columns, levels - 1), from_below(levels - 1), grads,
                  d_maps[levels - 1], room(rooms.room, levels - 1), workspace);
  }
  static constexpr ScratchBytes training_scratch(Index images, const Sizes& sizes) {
    ArenaBytes rooms;
    take_rooms(images, sizes, rooms);
    ScratchBytes bytes = one_after_the_other(Pooling::training_scratch(images, sizes[levels - 1]),
                                             one_after_the_other(Fusion::training_scratch(images, sizes[0]),
                                                                 Classifier::training_scratch(images, sizes[0])));
    each_lateral([&](auto level) {
      bytes = one_after_the_other(bytes, one_after_the_other(Lateral<level>::training_scratch(images, sizes[level]),
                                                             Smoothing::training_scratch(images, sizes[level])));
    });
    return {rooms.bytes() + bytes.shared, bytes.per_worker};
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    Pooling::each_parameter(self.pooling_, join_name(prefix, "pooling"), visit);
    each_lateral([&](auto level) {
      const auto name = [&](const char* part) { return join_name(join_name(prefix, part), std::to_string(level)); };
      Lateral<level>::each_parameter(std::get<level>(self.laterals_), name("lateral"), visit);
      Smoothing::each_parameter(self.smoothing_[level], name("smoothing"), visit);
    });
    Fusion::each_parameter(self.fusion_, join_name(prefix, "fusion"), visit);
    Classifier::each_parameter(self.classifier_, join_name(prefix, "classifier"), Role::head, visit);
  }

 private:
  static MatrixView logits_of(float* outputs, Index images, const Sizes& sizes) {
    return {outputs, images * sizes[0].places(), config.classes};
  }
  static ConstMatrixView logits_of(const float* outputs, Index images, const Sizes& sizes) {
    return {outputs, images * sizes[0].places(), config.classes};
  }
  static MatrixView column_of(const MatrixView& all, std::size_t level) {
    return all.columns_of(static_cast<Index>(level) * width, width);
  }

  /// What was saved, as matrices.
  struct Views {
    const Saved& saved;
    const Sizes& sizes;
    Index images;

    MatrixView rows(float* data, std::size_t level) const { return {data, images * sizes[level].places(), width}; }
    MatrixView lateral(std::size_t level) const { return rows(saved.list[level].lateral, level); }
    MatrixView merged(std::size_t level) const { return rows(saved.list[level].merged, level); }
    /// The pyramid: nothing happens to the last level behind the pooling, and the first lies in its column.
    MatrixView smooth(std::size_t level) const {
      if (level + 1 == levels) return merged(level);
      return level == 0 ? column(0) : rows(saved.list[level].smooth, level);
    }
    MatrixView columns() const { return {saved.columns, images * sizes[0].places(), fused_columns}; }
    MatrixView column(std::size_t level) const { return column_of(columns(), level); }
    MatrixView fused() const { return rows(saved.fused, 0); }
  };

  /// Gradients of what was saved. Levels take turns with two rooms each.
  struct Rooms {
    float *columns = nullptr, *room = nullptr;
    std::array<float*, 2> merged{}, below{};
  };
  template <class Memory>
  static constexpr Rooms take_rooms(Index images, const Sizes& sizes, Memory& memory) {
    Index most = 0;
    for (const MapSize& size : sizes) most = std::max(most, images * size.places() * width);
    Rooms rooms;
    rooms.columns = memory.template take<float>(images * sizes[0].places() * fused_columns);
    rooms.room = memory.template take<float>(most);
    for (float*& room : rooms.merged) room = memory.template take<float>(most);
    for (float*& room : rooms.below) room = memory.template take<float>(most);
    return rooms;
  }

  /// The last level, whose pooled map goes into its column and into the level below.
  void last_backward(const Sizes& sizes, Index images, const Saved& saved, MatrixView d_column, MatrixView d_above,
                     UperNetHead& grads, MatrixView d_map, MatrixView d_merged, Workspace& workspace) const {
    const MapSize last = sizes[levels - 1];
    resize_map_backward(d_column, sizes[0], images, d_merged, last, workspace);
    if (levels > 1) add_rows(d_above, d_merged, workspace);
    pooling_.backward(last, images, saved.pooling, Views{saved, sizes, images}.merged(levels - 1), d_merged,
                      grads.pooling_, d_map, workspace);
  }

  Pooling pooling_;
  Laterals laterals_;
  std::array<Smoothing, levels - 1> smoothing_;
  Fusion fusion_;
  Classifier classifier_;
};

}  // namespace moevit
