/// Feature pyramid (Lin et al. 2017): maps of one width at falling sizes, each with what coarser stages know.
#pragma once

#include <moevit/layers/normed_convolution.hpp>
#include <moevit/layers/resize_map.hpp>

#include <array>
#include <span>
#include <string>
#include <tuple>
#include <utility>

namespace moevit {

/// Each map is brought to `width` channels, the coarser one is resized and added, and a 3 x 3 convolution follows;
/// `extra` coarser levels come from the last one by convolutions with stride 2, all but the first behind a ReLU (as in
/// RetinaNet, with the last level as their source). Resizing is bilinear, where the paper repeats the nearest place.
/// `inputs`: channels of the maps, the finest first.
template <std::array inputs, Index width, Index extra>
class FeaturePyramid {
  static constexpr std::size_t maps = inputs.size();
  static constexpr ConvolutionWindow same{3, 1, 1}, halving{3, 2, 1};
  using Smoothing = Convolution<width, width, same>;
  using Coarser = Convolution<width, width, halving>;
  template <std::size_t level>
  using Lateral = Convolution<inputs[level], width, ConvolutionWindow{1, 1, 0}>;
  template <std::size_t... numbers>
  static auto laterals_of(std::index_sequence<numbers...>) -> std::tuple<Lateral<numbers>...>;
  using Laterals = decltype(laterals_of(std::make_index_sequence<maps>()));

  template <class F>
  static constexpr void each_map(F f) {
    [&]<std::size_t... numbers>(std::index_sequence<numbers...>) {
      (f(std::integral_constant<std::size_t, numbers>()), ...);
    }
    (std::make_index_sequence<maps>());
  }

 public:
  static constexpr std::size_t levels = maps + static_cast<std::size_t>(extra);
  using Sizes = std::array<MapSize, levels>;

  /// The sizes of all levels from those of the maps.
  static constexpr Sizes level_sizes(const std::array<MapSize, maps>& sizes) {
    Sizes all{};
    for (std::size_t i = 0; i < levels; ++i) all[i] = i < maps ? sizes[i] : halving.result_size(all[i - 1]);
    return all;
  }

  /// Arrays of one pass, the same for training: (images * places) x width each.
  struct Saved {
    std::array<float*, maps> merged{};
    std::array<float*, levels> level{};
    std::array<float*, levels> active{};  ///< behind a ReLU: of extra levels with another one behind them
  };
  template <class Memory>
  static constexpr Saved take_saved(Index images, const Sizes& sizes, Memory& memory) {
    const auto take = [&](std::size_t i) { return memory.template take<float>(images * sizes[i].places() * width); };
    Saved saved;
    for (std::size_t i = 0; i < levels; ++i) {
      if (i < maps) saved.merged[i] = take(i);
      saved.level[i] = take(i);
      if (i >= maps && i + 1 < levels) saved.active[i] = take(i);
    }
    return saved;
  }
  static MatrixView rows(float* data, Index images, MapSize size) { return {data, images * size.places(), width}; }

  static constexpr Index multiply_adds(const Sizes& sizes) {
    Index count = 0;
    each_map([&](auto level) {
      count += Lateral<level>::multiply_adds(sizes[level]) + Smoothing::multiply_adds(sizes[level]);
    });
    for (std::size_t i = maps; i < levels; ++i) count += Coarser::multiply_adds(sizes[i - 1]);
    return count;
  }
  static constexpr ScratchBytes scratch(Index images, const Sizes& sizes) {
    ScratchBytes bytes;
    each_map([&](auto level) {
      bytes = one_after_the_other(bytes, one_after_the_other(Lateral<level>::scratch(images, sizes[level]),
                                                             Smoothing::scratch(images, sizes[level])));
    });
    for (std::size_t i = maps; i < levels; ++i)
      bytes = one_after_the_other(bytes, Coarser::scratch(images, sizes[i - 1]));
    return bytes;
  }

  /// Fills saved.level from maps[i]: (images * sizes[i].places()) x inputs[i].
  void forward(std::span<const MatrixView> from, const Sizes& sizes, Index images, const Saved& saved,
               Workspace& workspace) const {
    each_map([&](auto reversed) {
      constexpr std::size_t level = maps - 1 - reversed;
      const MatrixView merged = rows(saved.merged[level], images, sizes[level]);
      simd::Epilogue added;
      if constexpr (level + 1 < maps) {
        resize_map(rows(saved.merged[level + 1], images, sizes[level + 1]), sizes[level + 1], images, merged,
                   sizes[level], workspace);
        added.residual = merged.data(), added.residual_stride = width;
      }
      std::get<level>(laterals_).forward(from[level], sizes[level], images, merged, workspace, added);
      smoothing_[level].forward(merged, sizes[level], images, rows(saved.level[level], images, sizes[level]),
                                workspace);
    });
    for (std::size_t i = maps; i < levels; ++i) {
      const MatrixView level = rows(saved.level[i], images, sizes[i]);
      coarser_[i - maps].forward(source(saved, i, images, sizes), sizes[i - 1], images, level, workspace);
      if (saved.active[i]) activate(level, saved.active[i], workspace);
    }
  }

  /// From d_levels, the gradients of all levels, which are used up: adds to grads and assigns d_maps.
  void backward(std::span<const MatrixView> from, const Sizes& sizes, Index images, const Saved& saved,
                const std::array<float*, levels>& d_levels, FeaturePyramid& grads, std::span<const MatrixView> d_maps,
                Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Rooms rooms = take_rooms(images, sizes, workspace.shared());
    const auto d_level = [&](std::size_t i) { return rows(d_levels[i], images, sizes[i]); };
    for (std::size_t i = levels - 1; i >= maps; --i) {
      const MatrixView d_source = rows(rooms.merged[0], images, sizes[i - 1]);
      coarser_[i - maps].backward(source(saved, i, images, sizes), d_level(i), sizes[i - 1], images,
                                  grads.coarser_[i - maps], d_source, workspace);
      if (i > maps) mask(rows(saved.active[i - 1], images, sizes[i - 1]), d_source, workspace);
      add_rows(d_source, d_level(i - 1), workspace);
    }
    each_map([&](auto constant) {
      constexpr std::size_t level = constant;
      const MapSize size = sizes[level];
      const MatrixView d_merged = rows(rooms.merged[level % 2], images, size);
      smoothing_[level].backward(rows(saved.merged[level], images, size), d_level(level), size, images,
                                 grads.smoothing_[level], d_merged, workspace);
      if (level > 0) add_rows(rows(rooms.below[level % 2], images, size), d_merged, workspace);
      if constexpr (level + 1 < maps)
        resize_map_backward(d_merged, size, images, rows(rooms.below[(level + 1) % 2], images, sizes[level + 1]),
                            sizes[level + 1], workspace);
      std::get<level>(laterals_).backward(from[level], d_merged, size, images, std::get<level>(grads.laterals_),
                                          d_maps[level], workspace);
    });
  }
  static constexpr ScratchBytes training_scratch(Index images, const Sizes& sizes) {
    ArenaBytes rooms;
    take_rooms(images, sizes, rooms);
    ScratchBytes bytes;
    each_map([&](auto level) {
      bytes = one_after_the_other(bytes, one_after_the_other(Lateral<level>::training_scratch(images, sizes[level]),
                                                             Smoothing::training_scratch(images, sizes[level])));
    });
    for (std::size_t i = maps; i < levels; ++i)
      bytes = one_after_the_other(bytes, Coarser::training_scratch(images, sizes[i - 1]));
    return {rooms.bytes() + bytes.shared, bytes.per_worker};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    const auto name = [&](const char* part, std::size_t i) { return join_name(prefix, part + std::to_string(i)); };
    each_map([&](auto level) {
      Lateral<level>::each_parameter(std::get<level>(self.laterals_), name("lateral.", level), Role::head, visit);
      Smoothing::each_parameter(self.smoothing_[level], name("smoothing.", level), Role::head, visit);
    });
    for (std::size_t i = 0; i < self.coarser_.size(); ++i)
      Coarser::each_parameter(self.coarser_[i], name("coarser.", i), Role::head, visit);
  }

 private:
  /// What extra level i is made from.
  static MatrixView source(const Saved& saved, std::size_t i, Index images, const Sizes& sizes) {
    return rows(i > maps ? saved.active[i - 1] : saved.level[i - 1], images, sizes[i - 1]);
  }
  static void activate(ConstMatrixView x, float* y, Workspace& workspace) {
    workspace.parallel_rows(x.rows(), 256, [&](Index first, Index count, Arena&) {
      simd::activate_row(Activation::relu, x.row_data(first), count * width, y + first * width);
    });
  }
  static void mask(ConstMatrixView active, MatrixView d, Workspace& workspace) {
    workspace.parallel_rows(d.rows(), 256, [&](Index first, Index count, Arena&) {
      simd::activation_gradient_row(Activation::relu, active.row_data(first), d.row_data(first), count * width,
                                    d.row_data(first));
    });
  }

  /// Gradients of the merged maps, and what comes to them from the level below. Levels take turns.
  struct Rooms {
    std::array<float*, 2> merged{}, below{};
  };
  template <class Memory>
  static constexpr Rooms take_rooms(Index images, const Sizes& sizes, Memory& memory) {
    Index most = 0;
    for (const MapSize& size : sizes) most = std::max(most, images * size.places() * width);
    Rooms rooms;
    for (float*& room : rooms.merged) room = memory.template take<float>(most);
    for (float*& room : rooms.below) room = memory.template take<float>(most);
    return rooms;
  }

  Laterals laterals_;
  std::array<Smoothing, maps> smoothing_;
  std::array<Coarser, static_cast<std::size_t>(extra)> coarser_;
};

}  // namespace moevit
