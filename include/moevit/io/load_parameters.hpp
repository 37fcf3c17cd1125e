/// Fills parameters from the tensors of a file: all or nothing, every tensor accounted for.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/io/naming/recognise.hpp>
#include <moevit/io/resize_positions.hpp>
#include <moevit/io/tensor_file.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// How a file may differ from the model. The defaults admit no difference.
struct LoadOptions {
  Naming naming = Naming::recognised;
  std::string strip_prefix = {};         ///< taken off the front of names that have it, e.g. "model."
  std::vector<std::string> ignore = {};  ///< tensors of the file that may stay unused; "opt/*": all that begin so
  /// Our parameters that keep their values, e.g. "head*" for another number of classes. Tensors of the file that would
  /// have filled them may stay unused.
  std::vector<std::string> keep = {};
  /// Learned positions of another grid, and biases by relative position of another window, are resized as the naming's
  /// library and Swin's authors do.
  bool resize_positions = false;
  std::optional<PositionResampling> resampling = {};  ///< instead of the library's way
  bool allow_trailing_bytes = false;                  ///< after the last tensor of a safetensors file
  bool reject_nonfinite = true;                       ///< NaN and infinite weights are errors
  bool check_configuration = true;  ///< a file of ours must have been saved from the same configuration
};

/// What was found besides weights.
struct LoadReport {
  std::string naming;
  std::vector<std::string> unused;  ///< tensors that options.ignore and options.keep let pass
};

namespace detail {

inline bool is_listed(const std::vector<std::string>& patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return pattern.ends_with('*') ? name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1))
                                  : name == pattern;
  });
}

/// Where one parameter's values come from.
struct Assignment {
  const Parameter* parameter = nullptr;
  const StoredTensor* tensor = nullptr;
  ForeignSlice slice;
  std::vector<float> resized;  ///< not empty: these values instead of the tensor's
};

/// Copies a slice of a tensor into row-major order of ours by read(first, stride, values), which fills `values` with
/// the elements first, first + stride, ...; needs no memory.
template <class Read>
void gather_rows(Read read, const ForeignSlice& slice, std::span<float> values) {
  const std::size_t last = slice.extents.size() - 1;
  const auto row = static_cast<std::size_t>(slice.extents[last]);
  std::array<Index, 8> index{};
  Index offset = slice.start;
  for (; !values.empty(); values = values.subspan(row)) {
    read(offset, slice.strides[last], values.first(row));
    for (std::size_t axis = last; axis-- > 0;) {
      offset += slice.strides[axis];
      if (++index[axis] < slice.extents[axis]) break;
      offset -= index[axis] * slice.strides[axis];
      index[axis] = 0;
    }
  }
}

/// The same by read(element), one by one.
template <class Read>
void gather(Read read, const ForeignSlice& slice, std::span<float> values) {
  const auto read_row = [&](Index element, Index stride, std::span<float> row) {
    for (float& value : row) value = read(std::exchange(element, element + stride));
  };
  gather_rows(read_row, slice, values);
}

/// Matches parameters with tensors and collects everything that does not fit.
class ParameterLoader {
 public:
  ParameterLoader(const ModelDescription& description, const TensorFile& file, const LoadOptions& options)
      : description_(description),
        file_(file),
        options_(options),
        named_(recognise_naming(file, options.strip_prefix, options.naming)) {}

  /// Finds the source of every parameter; `saved` is the grid of the file's positions if its metadata gives one.
  void match(std::span<const Parameter> parameters, const std::optional<PositionGrid>& saved) {
    report_.naming = named_.table->name;
    for (const Parameter& parameter : parameters) match(parameter, saved);
    for (const auto& [name, tensor] : named_.tensors) {
      if (used_.contains(tensor) || is_buffer(*named_.table, name)) continue;
      if (kept_.contains(tensor) || is_listed(options_.ignore, tensor->name) || is_listed(options_.ignore, name))
        report_.unused.push_back(tensor->name);
      else
        unexpected_.push_back("unexpected tensor '" + tensor->name + "' " + to_string(tensor->shape));
    }
    for (const StoredTensor* tensor : used_) check_values(*tensor);
    if (!missing_.empty() || !unexpected_.empty() || !unfit_.empty()) refuse();
  }

  /// Assigns everything. Only allocation can fail, and that comes first; nothing after it may allocate either.
  void assign() {
    std::size_t largest = 0;
    for (const Assignment& assignment : assignments_)
      largest = std::max(largest, static_cast<std::size_t>(assignment.parameter->size()));
    std::vector<float> buffer(largest);
    for (const Assignment& assignment : assignments_) {
      const auto size = static_cast<std::size_t>(assignment.parameter->size());
      if (assignment.resized.empty())
        gather_rows(
            [&tensor = *assignment.tensor](Index first, Index stride, std::span<float> values) {
              read_floats(tensor.type, tensor.bytes.data(), first, stride, values);
            },
            assignment.slice, std::span(buffer).first(size));
      else
        std::copy(assignment.resized.begin(), assignment.resized.end(), buffer.begin());
      assignment.parameter->assign(std::span<const float>(buffer).first(size));
    }
  }

  LoadReport take_report() { return std::move(report_); }

 private:
  void match(const Parameter& parameter, const std::optional<PositionGrid>& saved) {
    auto slice = find_foreign(*named_.table, parameter.name, parameter.shape, description_);
    const StoredTensor* tensor = slice ? named_.find(slice->name) : nullptr;
    if (is_listed(options_.keep, parameter.name)) {
      if (tensor) kept_.insert(tensor);
      return;
    }
    if (!slice) {
      missing_.push_back("the naming has no name for parameter " + parameter.name);
    } else if (!tensor) {
      missing_.push_back("missing tensor '" + slice->name + "' " + to_string(slice->shape) +
                         for_ours(parameter, *slice));
    } else {
      used_.insert(tensor);
      Assignment assignment{&parameter, tensor, std::move(*slice), {}};
      if (!is_floating(tensor->type))
        unfit_.push_back("tensor '" + tensor->name + "': expected F32, F16, BF16 or F64, found " + tensor->type);
      else if (tensor->shape != assignment.slice.shape && !resize(assignment, saved))
        return;
      assignments_.push_back(std::move(assignment));
    }
  }

  static std::string for_ours(const Parameter& parameter, const ForeignSlice& slice) {
    return slice.name == parameter.name ? "" : " (for " + parameter.name + ")";
  }

  /// Whether a tensor of another shape is a table of positions that could be, and was, resized.
  bool resize(Assignment& assignment, const std::optional<PositionGrid>& saved) {
    const Shape& expected = assignment.slice.shape;
    const Shape& found = assignment.tensor->shape;
    std::string problem = "tensor '" + assignment.tensor->name + "': expected " + to_string(expected) + ", found " +
                          to_string(found) + for_ours(*assignment.parameter, assignment.slice);
    const bool is_relative = assignment.parameter->name.ends_with("relative_position_bias");
    const bool other_grid = (is_relative || assignment.parameter->name == "position_embedding") &&
                            found.size() == expected.size() && found.back() == expected.back() &&
                            element_count(found) > 0;
    const auto from = !other_grid   ? std::nullopt
                      : is_relative ? square_grid(found[0])
                                    : source_grid(found[found.size() - 2], saved);
    if (from && options_.resize_positions) {
      const VitConfig& vit = description_.vit;
      const PositionGrid to = is_relative ? square_grid(expected[0]).value()
                                          : PositionGrid{vit.grid_rows(), vit.grid_columns(), vit.has_class_token()};
      assignment.resized = assignment.parameter->values();
      resize_positions(
          options_.resampling.value_or(is_relative ? PositionResampling::bicubic : named_.table->resampling),
          file_.floats(assignment.tensor->name), *from, assignment.resized, to, found.back());
      return true;
    }
    if (from) problem += "; a table for another grid: resize_positions of LoadOptions resizes it";
    unfit_.push_back(std::move(problem));
    return false;
  }

  /// The differences of two places of a window, 2 window - 1 each way.
  static std::optional<PositionGrid> square_grid(Index differences) {
    const auto side = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(differences))));
    return side * side == differences && side % 2 == 1 ? std::optional(PositionGrid{side, side, false}) : std::nullopt;
  }

  /// The grid of a table of `tokens` rows: the saved one, else a square, with a class token if only that makes it one.
  static std::optional<PositionGrid> source_grid(Index tokens, const std::optional<PositionGrid>& saved) {
    if (saved && saved->tokens() == tokens) return saved;
    for (const bool token : {false, true}) {
      const Index patches = tokens - (token ? 1 : 0);
      const auto side = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(patches))));
      if (side > 0 && side * side == patches) return PositionGrid{side, side, token};
    }
    return std::nullopt;
  }

  /// Refuses what a float cannot hold, and NaN and infinity if asked to.
  void check_values(const StoredTensor& tensor) {
    std::array<float, 1024> part;
    const Index size = is_floating(tensor.type) ? tensor.size() : 0;
    for (Index first = 0; first < size; first += std::ssize(part)) {
      const auto values = std::span(part).first(static_cast<std::size_t>(std::min(std::ssize(part), size - first)));
      read_floats(tensor.type, tensor.bytes.data(), first, 1, values);
      for (std::size_t i = 0; i < values.size(); ++i)
        if (!std::isfinite(values[i]) && !accept_nonfinite(tensor, first + static_cast<Index>(i), values[i])) return;
    }
  }

  bool accept_nonfinite(const StoredTensor& tensor, Index element, float value) {
    const bool too_large = tensor.type == "F64" && std::isfinite(load_element<double>(tensor.bytes.data(), element));
    if (!too_large && !options_.reject_nonfinite) return true;
    unfit_.push_back("tensor '" + tensor.name + "': expected finite values, found " +
                     (too_large           ? "one too large for a float"
                      : std::isnan(value) ? "NaN"
                                          : "infinity") +
                     " at element " + std::to_string(element));
    return false;
  }

  [[noreturn]] void refuse() const {
    constexpr std::size_t shown = 25;  // of each kind
    std::string message = file_.path().string() + " (naming " + std::string(named_.table->name) +
                          ") does not fit the model, which is left as it was: " + std::to_string(missing_.size()) +
                          " missing, " + std::to_string(unexpected_.size()) + " unexpected, " +
                          std::to_string(unfit_.size()) + " of another shape, type or value";
    for (const auto* lines : {&unfit_, &missing_, &unexpected_}) {
      for (std::size_t i = 0; i < std::min(shown, lines->size()); ++i) message += "\n  " + (*lines)[i];
      if (lines->size() > shown) message += "\n  and " + std::to_string(lines->size() - shown) + " more";
    }
    throw Error(message);
  }

  const ModelDescription& description_;
  const TensorFile& file_;
  const LoadOptions& options_;
  NamedTensors named_;
  std::vector<Assignment> assignments_;
  std::set<const StoredTensor*> used_, kept_;
  std::vector<std::string> missing_, unexpected_, unfit_;  // one line each
  LoadReport report_;
};

}  // namespace detail

/// Fills all parameters of a model from a file. Throws one Error that lists every missing, unexpected, mis-shaped,
/// mistyped and non-finite tensor; then no parameter has been touched. `saved_grid` is the grid of the file's position
/// embedding where that is known; else it is taken to be a square.
inline LoadReport load_parameters(std::span<const Parameter> parameters, const ModelDescription& description,
                                  const TensorFile& file, const LoadOptions& options = {},
                                  const std::optional<PositionGrid>& saved_grid = {}) {
  detail::ParameterLoader loader(description, file, options);
  loader.match(parameters, saved_grid);
  loader.assign();
  return loader.take_report();
}

}  // namespace moevit
