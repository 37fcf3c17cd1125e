/// Pyramid pooling: what a map looks like from afar, brought back to each of its places.
#pragma once

#include <moevit/layers/map_pooling.hpp>
#include <moevit/layers/normed_convolution.hpp>
#include <moevit/layers/resize_map.hpp>

#include <array>

namespace moevit {

/// Means over 1 x 1, 2 x 2, 3 x 3 and 6 x 6 parts of a map, each reduced to `width` channels and resized to the map,
/// are put beside it, and a 3 x 3 convolution makes `width` channels of all (Zhao et al. 2017, figure 3).
template <Index inputs, Index width, Index groups>
class PyramidPooling {
  static constexpr std::array<Index, 4> sides{1, 2, 3, 6};
  static constexpr std::size_t branches = sides.size();
  static constexpr Index columns = inputs + static_cast<Index>(branches) * width;
  using Branch = NormedConvolution<inputs, width, ConvolutionWindow{1, 1, 0}, groups>;
  using Bottleneck = NormedConvolution<columns, width, ConvolutionWindow{3, 1, 1}, groups>;

  static constexpr MapSize part(std::size_t branch) { return {sides[branch], sides[branch]}; }
  static constexpr Index first_column(std::size_t branch) { return inputs + static_cast<Index>(branch) * width; }

 public:
  /// Arrays of one pass; those of training only are null in others.
  struct Saved {
    float* columns = nullptr;  ///< places x columns, the map first
    float* sums = nullptr;     ///< training only
    std::array<float*, branches> pooled{}, reduced{};
    std::array<float*, branches> reduced_sums{};  ///< training only
  };

  template <class Memory>
  static constexpr Saved take_saved(Index images, MapSize size, bool is_training, Memory& memory) {
    Saved saved;
    const auto take = [&](Index count) { return memory.template take<float>(count); };
    saved.columns = take(images * size.places() * columns);
    if (is_training) saved.sums = take(Bottleneck::saved_values(images, size));
    for (std::size_t i = 0; i < branches; ++i) {
      saved.pooled[i] = take(images * part(i).places() * inputs);
      saved.reduced[i] = take(images * part(i).places() * width);
      if (is_training) saved.reduced_sums[i] = take(Branch::saved_values(images, part(i)));
    }
    return saved;
  }

  static constexpr Index multiply_adds(MapSize size) {
    Index count = Bottleneck::multiply_adds(size);
    for (std::size_t i = 0; i < branches; ++i) count += Branch::multiply_adds(part(i));
    return count;
  }
  static constexpr ScratchBytes scratch(Index images, MapSize size) {
    ScratchBytes bytes = Bottleneck::scratch(images, size);
    for (std::size_t i = 0; i < branches; ++i) bytes = one_after_the_other(bytes, Branch::scratch(images, part(i)));
    return bytes;
  }

  /// map: (images * size.places()) x inputs, y: as many rows x width.
  void forward(ConstMatrixView map, MapSize size, Index images, const Saved& saved, MatrixView y,
               Workspace& workspace) const {
    const MatrixView all(saved.columns, y.rows(), columns);
    copy_rows(map, all.columns_of(0, inputs), workspace);
    for (std::size_t i = 0; i < branches; ++i) {
      const MatrixView pooled = pooled_of(saved, i, images), reduced = reduced_of(saved, i, images);
      pool_map(map, size, images, pooled, part(i), workspace);
      branches_[i].forward(pooled, part(i), images, saved.reduced_sums[i], reduced, workspace);
      resize_map(reduced, part(i), images, all.columns_of(first_column(i), width), size, workspace);
    }
    bottleneck_.forward(all, size, images, saved.sums, y, workspace);
  }

  /// From dy, which is used up, and what the training pass saved: adds to grads and assigns d_map.
  void backward(MapSize size, Index images, const Saved& saved, ConstMatrixView y, MatrixView dy, PyramidPooling& grads,
                MatrixView d_map, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Rooms rooms = take_rooms(images, size, workspace.shared());
    const MatrixView d_all(rooms.columns, y.rows(), columns), spread(rooms.spread, y.rows(), inputs);
    bottleneck_.backward({saved.columns, y.rows(), columns}, size, images, saved.sums, y, dy, grads.bottleneck_, d_all,
                         workspace);
    copy_rows(d_all.columns_of(0, inputs), d_map, workspace);
    for (std::size_t i = 0; i < branches; ++i) {
      const Index rows = images * part(i).places();
      const MatrixView d_pooled(rooms.pooled, rows, inputs), d_reduced(rooms.reduced, rows, width);
      resize_map_backward(d_all.columns_of(first_column(i), width), size, images, d_reduced, part(i), workspace);
      branches_[i].backward(pooled_of(saved, i, images), part(i), images, saved.reduced_sums[i],
                            reduced_of(saved, i, images), d_reduced, grads.branches_[i], d_pooled, workspace);
      pool_map_backward(d_pooled, part(i), images, spread, size, workspace);
      add_rows(spread, d_map, workspace);
    }
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize size) {
    ArenaBytes rooms;
    take_rooms(images, size, rooms);
    ScratchBytes bytes = Bottleneck::training_scratch(images, size);
    for (std::size_t i = 0; i < branches; ++i)
      bytes = one_after_the_other(bytes, Branch::training_scratch(images, part(i)));
    return {rooms.bytes() + bytes.shared, bytes.per_worker};
  }

  /// Parameters `prefix`.1.kernel, ..., by the side of the branch, and `prefix`.bottleneck.kernel and so on.
  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    for (std::size_t i = 0; i < branches; ++i)
      Branch::each_parameter(self.branches_[i], join_name(prefix, std::to_string(sides[i])), visit);
    Bottleneck::each_parameter(self.bottleneck_, join_name(prefix, "bottleneck"), visit);
  }

 private:
  static MatrixView pooled_of(const Saved& saved, std::size_t i, Index images) {
    return {saved.pooled[i], images * part(i).places(), inputs};
  }
  static MatrixView reduced_of(const Saved& saved, std::size_t i, Index images) {
    return {saved.reduced[i], images * part(i).places(), width};
  }

  /// Gradients of what was saved.
  struct Rooms {
    float *columns = nullptr, *spread = nullptr, *pooled = nullptr, *reduced = nullptr;
  };
  template <class Memory>
  static constexpr Rooms take_rooms(Index images, MapSize size, Memory& memory) {
    const Index rows = images * size.places(), most = images * part(branches - 1).places();
    Rooms rooms;
    rooms.columns = memory.template take<float>(rows * columns);
    rooms.spread = memory.template take<float>(rows * inputs);
    rooms.pooled = memory.template take<float>(most * inputs);
    rooms.reduced = memory.template take<float>(most * width);
    return rooms;
  }

  std::array<Branch, branches> branches_;
  Bottleneck bottleneck_;
};

}  // namespace moevit
