/// The towers of FCOS: what a detector makes of one level of a feature pyramid.
#pragma once

#include <moevit/layers/normed_convolution.hpp>

#include <array>
#include <string>

namespace moevit {

/// Numbers per place that say where a box is: the distances to its left, top, right and bottom side, and centre-ness.
inline constexpr Index box_values = 5;

/// Two stacks of `depth` convolutions with group norm and ReLU, one for classes, one for boxes, and a convolution
/// behind each: logits of the classes; logarithms of distances, and the logit of centre-ness (Tian et al. 2019, figure
/// 2, with centre-ness beside the boxes as in their later version). The same weights serve all levels.
template <Index width, Index classes, Index depth, Index groups>
class FcosTowers {
  static constexpr ConvolutionWindow window{3, 1, 1};
  using Layer = NormedConvolution<width, width, window, groups>;
  using ClassLayer = Convolution<width, classes, window>;
  using BoxLayer = Convolution<width, box_values, window>;
  static constexpr auto count = static_cast<std::size_t>(depth);
  static_assert(depth > 0, "FcosTowers: expected at least one layer");
  using Tower = std::array<Layer, count>;

 public:
  /// Maps behind the layers of one tower; without training they take turns with two.
  struct SavedTower {
    std::array<float*, count> maps{}, sums{};  ///< sums: training only
  };
  struct Saved {
    SavedTower class_tower, box_tower;
  };
  template <class Memory>
  static constexpr Saved take_saved(Index images, MapSize size, bool is_training, Memory& memory) {
    const Index values = images * size.places() * width;
    Saved saved;
    for (SavedTower* tower : {&saved.class_tower, &saved.box_tower})
      for (std::size_t i = 0; i < count; ++i) {
        tower->maps[i] = is_training || i < 2 ? memory.template take<float>(values) : tower->maps[i - 2];
        if (is_training) tower->sums[i] = memory.template take<float>(values);
      }
    return saved;
  }
  static constexpr Index multiply_adds(MapSize size) {
    return 2 * depth * Layer::multiply_adds(size) + ClassLayer::multiply_adds(size) + BoxLayer::multiply_adds(size);
  }
  static constexpr ScratchBytes scratch(Index images, MapSize size) {
    return one_after_the_other(Layer::scratch(images, size),
                               one_after_the_other(ClassLayer::scratch(images, size), BoxLayer::scratch(images, size)));
  }

  /// x: (images * size.places()) x width; of_classes: as many rows x classes, of_boxes: x box_values.
  void forward(ConstMatrixView x, MapSize size, Index images, const Saved& saved, MatrixView of_classes,
               MatrixView of_boxes, Workspace& workspace) const {
    class_layer_.forward(climb(class_tower_, x, size, images, saved.class_tower, workspace), size, images, of_classes,
                         workspace);
    box_layer_.forward(climb(box_tower_, x, size, images, saved.box_tower, workspace), size, images, of_boxes,
                       workspace);
  }

  /// From the gradients of both and what the training pass saved: adds to grads and assigns dx.
  void backward(ConstMatrixView x, MapSize size, Index images, const Saved& saved, ConstMatrixView d_classes,
                ConstMatrixView d_boxes, FcosTowers& grads, MatrixView dx, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Rooms rooms = take_rooms(images, size, workspace.shared());
    const MatrixView top(rooms.list[0], x.rows(), width), bottom(rooms.list[2], x.rows(), width);
    class_layer_.backward(last(saved.class_tower, x.rows()), d_classes, size, images, grads.class_layer_, top,
                          workspace);
    descend(class_tower_, x, size, images, saved.class_tower, rooms, grads.class_tower_, dx, workspace);
    box_layer_.backward(last(saved.box_tower, x.rows()), d_boxes, size, images, grads.box_layer_, top, workspace);
    descend(box_tower_, x, size, images, saved.box_tower, rooms, grads.box_tower_, bottom, workspace);
    add_rows(bottom, dx, workspace);
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize size) {
    ArenaBytes rooms;
    take_rooms(images, size, rooms);
    const ScratchBytes bytes = one_after_the_other(
        Layer::training_scratch(images, size),
        one_after_the_other(ClassLayer::training_scratch(images, size), BoxLayer::training_scratch(images, size)));
    return {rooms.bytes() + bytes.shared, bytes.per_worker};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    for (std::size_t i = 0; i < count; ++i)
      Layer::each_parameter(self.class_tower_[i], join_name(prefix, numbered_name("class_tower.", i)), visit);
    ClassLayer::each_parameter(self.class_layer_, join_name(prefix, "classes"), Role::head, visit);
    for (std::size_t i = 0; i < count; ++i)
      Layer::each_parameter(self.box_tower_[i], join_name(prefix, numbered_name("box_tower.", i)), visit);
    BoxLayer::each_parameter(self.box_layer_, join_name(prefix, "boxes"), Role::head, visit);
  }

 private:
  static MatrixView last(const SavedTower& saved, Index rows) { return {saved.maps[count - 1], rows, width}; }

  /// The map behind the last layer of a tower.
  static MatrixView climb(const Tower& tower, ConstMatrixView x, MapSize size, Index images, const SavedTower& saved,
                          Workspace& workspace) {
    for (std::size_t i = 0; i < count; ++i) {
      const ConstMatrixView below = i == 0 ? x : ConstMatrixView(saved.maps[i - 1], x.rows(), width);
      tower[i].forward(below, size, images, saved.sums[i], {saved.maps[i], x.rows(), width}, workspace);
    }
    return last(saved, x.rows());
  }

  struct Rooms {
    std::array<float*, 3> list{};
  };
  template <class Memory>
  static constexpr Rooms take_rooms(Index images, MapSize size, Memory& memory) {
    Rooms rooms;
    for (float*& room : rooms.list) room = memory.template take<float>(images * size.places() * width);
    return rooms;
  }

  /// From the gradient of the last map, in the first room, down to dx. Layers take turns with two rooms.
  static void descend(const Tower& tower, ConstMatrixView x, MapSize size, Index images, const SavedTower& saved,
                      const Rooms& rooms, Tower& grads, MatrixView dx, Workspace& workspace) {
    const auto view = [&](float* data) { return MatrixView(data, x.rows(), width); };
    for (std::size_t i = count; i-- > 0;) {
      const std::size_t turn = (count - 1 - i) % 2;
      const ConstMatrixView below = i == 0 ? x : ConstMatrixView(saved.maps[i - 1], x.rows(), width);
      tower[i].backward(below, size, images, saved.sums[i], view(saved.maps[i]), view(rooms.list[turn]), grads[i],
                        i == 0 ? dx : view(rooms.list[1 - turn]), workspace);
    }
  }

  Tower class_tower_, box_tower_;
  ClassLayer class_layer_;
  BoxLayer box_layer_;
};

}  // namespace moevit
