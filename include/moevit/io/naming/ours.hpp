/// The way back from the tensors of a file to the shapes our parameters would have.
#pragma once

#include <moevit/io/naming/recognise.hpp>
#include <moevit/io/naming/table.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace moevit::detail {

/// The shape of a parameter of ours, and the number of heads or members when the tensor of the file tells.
struct OurShape {
  Shape shape;
  Index heads = 0;
  Index members = 0;
};

/// Our shape of a tensor that a row describes; nothing when its rank does not fit or an axis is empty.
inline std::optional<OurShape> our_shape(const Shape& s, NameLayout layout) {
  const auto rank = s.size();
  for (const Index extent : s)
    if (extent < 1) return std::nullopt;
  switch (layout) {
    case NameLayout::same:
      return OurShape{s};
    case NameLayout::row:
      return rank == 3 ? std::optional(OurShape{{s[2]}}) : std::nullopt;
    case NameLayout::rows:
      return rank == 3 ? std::optional(OurShape{{s[1], s[2]}}) : std::nullopt;
    case NameLayout::transposed:
    case NameLayout::flat_patch:
      return rank == 2 ? std::optional(OurShape{{s[1], s[0]}}) : std::nullopt;
    case NameLayout::convolution:
      return rank == 4 ? std::optional(OurShape{{s[2], s[3], s[1], s[0]}}) : std::nullopt;
    case NameLayout::depthwise:
      return rank == 4 && s[1] == 1 ? std::optional(OurShape{{s[2], s[3], s[0]}}) : std::nullopt;
    case NameLayout::query:
    case NameLayout::key:
    case NameLayout::value:
      if (rank == 1) return OurShape{{s[0] / 3}};
      return rank == 2 ? std::optional(OurShape{{s[1], s[0] / 3}}) : std::nullopt;
    case NameLayout::split_heads:
      if (rank == 2) return OurShape{{s[0] * s[1]}, s[0]};
      return rank == 3 ? std::optional(OurShape{{s[0], s[1] * s[2]}, s[1]}) : std::nullopt;
    case NameLayout::joined_heads:
      return rank == 3 ? std::optional(OurShape{{s[0] * s[1], s[2]}, s[0]}) : std::nullopt;
    case NameLayout::grid_rows:  // a grid's sides do not follow from the number of its places
      return std::nullopt;
    case NameLayout::grid_channels:
      return rank == 4 ? std::optional(OurShape{{s[2], s[3], s[1]}}) : std::nullopt;
    case NameLayout::experts:
      return rank == 3 ? std::optional(OurShape{{s[0], s[2], s[1]}}) : std::nullopt;
    case NameLayout::members:
      if (rank == 3) return OurShape{{s[0], s[1] * s[2]}, 0, s[1]};
      return rank == 2 ? std::optional(OurShape{s}) : std::nullopt;
  }
  return std::nullopt;
}

/// Looks parameters of ours up in a file.
class OurShapes {
 public:
  explicit OurShapes(const NamedTensors& named) : named_(named) {}

  /// The parameter `pattern` of a block ("" outside blocks); nothing when the file has none that fits.
  std::optional<OurShape> find(std::string_view pattern, const std::string& block = "") const {
    if (named_.table->naming == Naming::own) return find_tensor(pattern, NameLayout::same, block);
    for (const NameRow& row : named_.table->rows)
      if (row.ours == pattern)
        if (const auto found = find_tensor(row.theirs, row.layout, block)) return found;
    return std::nullopt;
  }
  bool has(std::string_view pattern, const std::string& block = "") const { return find(pattern, block).has_value(); }
  /// The same for a parameter of known rank; nothing when the rank differs.
  std::optional<OurShape> find_rank(std::size_t rank, std::string_view pattern, const std::string& block = "") const {
    const auto found = find(pattern, block);
    return found && found->shape.size() == rank ? found : std::nullopt;
  }
  /// The parameter that we call `name`, numbers included; nothing when the file has none that fits.
  std::optional<OurShape> find_name(const std::string& name) const {
    if (named_.table->naming == Naming::own) return find_tensor(name, NameLayout::same, "");
    for (const NameRow& row : named_.table->rows) {
      const auto numbers = match_numbers(row.ours, name);
      const StoredTensor* tensor = numbers ? named_.find(fill_numbers(row.theirs, *numbers)) : nullptr;
      if (!tensor) continue;
      if (const auto found = our_shape(tensor->shape, row.layout)) return found;
    }
    return std::nullopt;
  }
  /// Whether a tensor of the file has exactly this name.
  bool has_theirs(std::string_view name) const { return named_.find(name) != nullptr; }

 private:
  std::optional<OurShape> find_tensor(std::string_view theirs, NameLayout layout, const std::string& block) const {
    const std::string numbers[] = {block};
    const StoredTensor* tensor = named_.find(block.empty() ? std::string(theirs) : fill_numbers(theirs, numbers));
    return tensor ? our_shape(tensor->shape, layout) : std::nullopt;
  }

  const NamedTensors& named_;
};

}  // namespace moevit::detail
