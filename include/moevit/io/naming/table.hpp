/// What a naming is: a table from our parameter names to those of another library, with the layout of each tensor.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/io/naming/patterns.hpp>
#include <moevit/io/resize_positions.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace moevit {

/// Name and layout schemes that load() knows.
enum class Naming : unsigned char {
  recognised,    // whichever fits most names of the file
  own,           // what save() writes
  vmoe,          // google-research/vmoe
  vit_jax,       // google-research/vision_transformer
  timm,          // huggingface/pytorch-image-models
  hugging_face,  // huggingface/transformers
  vit_pytorch,   // lucidrains/vit-pytorch
  swin,          // microsoft/Swin-Transformer, with Tutel's names for experts, and the backbones made from it
  swin_timm,
  swin_hugging_face,
  cvt,  // microsoft/CvT
  cvt_hugging_face
};

/// How a tensor of the file lies compared with ours. Letters: D dim, A attention width, (ph, pw, C) a patch.
enum class NameLayout : unsigned char {
  same,
  row,            // (D) as (1, 1, D)
  rows,           // (T, D) as (1, T, D)
  transposed,     // (in, out) as (out, in): PyTorch's Linear
  convolution,    // (ph, pw, C, D) as (D, C, ph, pw): PyTorch's Conv2d
  depthwise,      // (kh, kw, D) as (D, 1, kh, kw): the same with a group for each channel
  flat_patch,     // (ph, pw, C, D) as (D, ph pw C): PyTorch's Linear over the values of a patch
  query,          // first third of the rows of a fused Linear: (D, A) in (3 A, D), (A) in (3 A)
  key,            // second third
  value,          // last third
  split_heads,    // (D, A) as (D, heads, A / heads), (A) as (heads, A / heads)
  joined_heads,   // (A, D) as (heads, A / heads, D)
  grid_rows,      // (h, w, D) as (1, h w, D)
  grid_channels,  // (h, w, D) as (1, D, h, w)
  experts,        // (E, in, out) as (E, out, in)
  members         // (D, E) as (D, M, E / M) when an efficient ensemble has M > 1 members, else the same
};

/// For which models a row of a table holds.
enum class NameCondition : unsigned char {
  always,
  norm_before_pooling,
  norm_after_pooling,
  shrunk_windows,  // Swin classifiers
  padded_windows   // Swin backbones
};

/// One parameter under both names; {} stands for the number of the stage or block.
struct NameRow {
  std::string_view ours;
  std::string_view theirs;
  NameLayout layout = NameLayout::same;
  NameCondition condition = NameCondition::always;
};

/// The rows of several lists, one list after the other.
template <std::size_t... sizes>
constexpr auto joined_rows(const std::array<NameRow, sizes>&... lists) {
  std::array<NameRow, (sizes + ...)> all{};
  auto next = all.begin();
  ((next = std::copy(lists.begin(), lists.end(), next)), ...);
  return all;
}

/// One naming.
struct NameTable {
  Naming naming = Naming::own;
  std::string_view name;
  std::span<const NameRow> rows;
  PositionResampling resampling = PositionResampling::zoom;  // how its library resizes position embeddings
  std::span<const std::string_view> prefixes = {};           // what may stand in front of its names
  std::span<const std::string_view> buffers = {};            // ends of names of tensors that are no weights
};

/// The part of a tensor of the file that fills one of our parameters: our row-major elements, as an array of `extents`,
/// lie at start + sum of index * stride.
struct ForeignSlice {
  std::string name;
  Shape shape;  // of the whole tensor
  Index start = 0;
  Shape extents;
  Shape strides;
};

namespace detail {

inline bool holds(NameCondition condition, const ModelDescription& model) {
  switch (condition) {
    case NameCondition::always:
      return true;
    case NameCondition::norm_before_pooling:
      return model.vit.final_norm == FinalNorm::before_pooling;
    case NameCondition::norm_after_pooling:
      return model.vit.final_norm == FinalNorm::after_pooling;
    case NameCondition::shrunk_windows:
      return model.swin.form == WindowForm::shrink;
    case NameCondition::padded_windows:
      return model.swin.form == WindowForm::pad;
  }
  return false;
}

/// A third of a fused Linear's weight or bias.
inline void set_third(ForeignSlice& slice, const Shape& ours, Index third) {
  const Index width = ours.back();
  slice.extents = ours;
  if (ours.size() == 1) {
    slice.shape = {3 * width};
    slice.start = third * width;
    slice.strides = {1};
  } else {
    slice.shape = {3 * width, ours[0]};
    slice.start = third * width * ours[0];
    slice.strides = {1, ours[0]};
  }
}

/// Shape, start, extents and strides of our parameter of shape `ours` in a tensor of that layout.
inline void set_layout(ForeignSlice& slice, NameLayout layout, const Shape& ours, Index heads, Index members) {
  slice.extents = {element_count(ours)};
  slice.strides = {1};
  const auto front = [&](std::size_t axis) { return ours[axis]; };
  switch (layout) {
    case NameLayout::same:
      slice.shape = ours;
      break;
    case NameLayout::row:
      slice.shape = {1, 1, front(0)};
      break;
    case NameLayout::rows:
      slice.shape = {1, front(0), front(1)};
      break;
    case NameLayout::transposed:
      slice.shape = {front(1), front(0)};
      slice.extents = ours;
      slice.strides = {1, front(0)};
      break;
    case NameLayout::convolution:
      slice.shape = {front(3), front(2), front(0), front(1)};
      slice.extents = ours;
      slice.strides = {front(1), 1, front(0) * front(1), front(0) * front(1) * front(2)};
      break;
    case NameLayout::depthwise:
      slice.shape = {front(2), 1, front(0), front(1)};
      slice.extents = ours;
      slice.strides = {front(1), 1, front(0) * front(1)};
      break;
    case NameLayout::flat_patch:
      slice.shape = {front(3), front(0) * front(1) * front(2)};
      slice.extents = {slice.shape[1], slice.shape[0]};
      slice.strides = {1, slice.shape[1]};
      break;
    case NameLayout::query:
      set_third(slice, ours, 0);
      break;
    case NameLayout::key:
      set_third(slice, ours, 1);
      break;
    case NameLayout::value:
      set_third(slice, ours, 2);
      break;
    case NameLayout::split_heads:
      slice.shape = ours;
      slice.shape.back() = heads;
      slice.shape.push_back(ours.back() / heads);
      break;
    case NameLayout::joined_heads:
      slice.shape = {heads, front(0) / heads, front(1)};
      break;
    case NameLayout::grid_rows:
      slice.shape = {1, front(0) * front(1), front(2)};
      break;
    case NameLayout::grid_channels:
      slice.shape = {1, front(2), front(0), front(1)};
      slice.extents = {front(0) * front(1), front(2)};
      slice.strides = {1, front(0) * front(1)};
      break;
    case NameLayout::experts:
      slice.shape = {front(0), front(2), front(1)};
      slice.extents = ours;
      slice.strides = {front(1) * front(2), 1, front(1)};
      break;
    case NameLayout::members:
      slice.shape = members > 1 ? Shape{front(0), members, front(1) / members} : ours;
      break;
  }
}

}  // namespace detail

/// Where a parameter of ours, by name and shape, lies under a naming; nothing when the naming has no such parameter.
inline std::optional<ForeignSlice> find_foreign(const NameTable& table, const std::string& name, const Shape& shape,
                                                const ModelDescription& model) {
  ForeignSlice slice;
  if (table.naming == Naming::own) {  // also the parameters of a user's own layers
    slice.name = name;
    detail::set_layout(slice, NameLayout::same, shape, model.vit.heads, model.moe.members);
    return slice;
  }
  for (const NameRow& row : table.rows) {
    const auto numbers = detail::match_numbers(row.ours, name);
    if (!numbers || !detail::holds(row.condition, model)) continue;
    slice.name = detail::fill_numbers(row.theirs, *numbers);
    detail::set_layout(slice, row.layout, shape, model.vit.heads, model.moe.members);
    return slice;
  }
  return std::nullopt;
}

}  // namespace moevit
