/// Named parameters: what loading, saving, initialising and optimising go through.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/function_ref.hpp>
#include <moevit/core/tensor.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace moevit {

class WeightMatrix;  // layers/weight_matrix.hpp

/// What a parameter is for; storage policies, decay masks and upcycling ask for it.
enum class Role : unsigned char {
  embedding,
  norm,
  attention,
  mlp,
  expert,
  router,
  head,
  statistics  ///< of a batch norm: kept with the weights, but not trained by gradients, which are zero
};

/// Where the elements of one matrix of a parameter lie: rows x cols, cut into panels of `panel` columns
/// (see simd/packed.hpp), of which the parameter takes the columns from `first_column` on. panel = 0: plain row-major.
struct ParameterLayout {
  Index rows = 1;
  Index cols = 0;
  Index first_column = 0;
  Index panel = 0;

  Index offset(Index row, Index col) const {
    const Index c = first_column + col;
    return panel == 0 ? row * cols + c : (c / panel) * rows * panel + row * panel + c % panel;
  }
};

/// One parameter tensor of a model. Its logical order is row-major in `shape`; kernels are input-major (y = x W + b),
/// experts have a leading expert axis. T is float, or const float for a const model.
template <class T>
struct BasicParameter {
  std::string name;  ///< parts joined by dots, "blocks.0.attention.query.kernel"
  Shape shape;
  Role role = Role::mlp;
  std::vector<T*> matrices;  ///< where each matrix of the stack begins: one, or one per expert
  ParameterLayout layout;    ///< of each of them
  /// The stores whose elements these are, where weights can be packed for inference; null pointers in `matrices` mean
  /// that they were. Parameters that are columns of one matrix name the same store.
  std::vector<std::conditional_t<std::is_const_v<T>, const WeightMatrix, WeightMatrix>*> stores = {};

  Index size() const { return element_count(shape); }

  /// Stores values given in logical order. Throws Error when their number is not size().
  void assign(std::span<const float> values) const requires(!std::is_const_v<T>) {
    check(values.size());
    visit_elements([&](std::size_t i, T& element) { element = values[i]; });
  }

  /// Writes the values in logical order. Throws Error when the room is not size().
  void copy_to(std::span<float> values) const {
    check(values.size());
    visit_elements([&](std::size_t i, T& element) { values[i] = element; });
  }

  /// The values in logical order.
  std::vector<float> values() const {
    std::vector<float> result(static_cast<std::size_t>(size()));
    copy_to(result);
    return result;
  }

 private:
  void check(std::size_t count) const {
    if (static_cast<Index>(count) != size())
      fail("parameter ", name, ": expected ", size(), " values for shape ", to_string(shape), ", found ", count);
  }
  template <class Visit>
  void visit_elements(Visit visit) const {
    std::size_t i = 0;
    for (T* matrix : matrices)
      for (Index row = 0; row < layout.rows; ++row)
        for (Index col = 0; col < layout.cols; ++col) visit(i++, matrix[layout.offset(row, col)]);
  }
};

/// A parameter of a model that may be changed, and one of a const model.
using Parameter = BasicParameter<float>;
using ConstParameter = BasicParameter<const float>;

/// The pointer type that a parameter of an object of type Self has: const float for a const object.
template <class Self>
using ParameterValue = std::conditional_t<std::is_const_v<Self>, const float, float>;

/// What is called with parameters. Layers and models list theirs through this one type, so that listing is compiled
/// once for each of them, not once for each caller.
template <class T>
using BasicParameterVisitor = FunctionRef<void(BasicParameter<T>&&)>;

/// What is called with the parameters of an object of type Self, which may be const.
template <class Self>
using ParameterVisitor = BasicParameterVisitor<ParameterValue<Self>>;

/// Adds each parameter to a list: a visitor.
template <class T>
struct CollectParameters {
  std::vector<BasicParameter<T>>& list;
  void operator()(BasicParameter<T>&& parameter) const { list.push_back(std::move(parameter)); }
};

/// The name of a part inside a whole: "blocks" + "0" -> "blocks.0"; an empty prefix adds nothing.
inline std::string join_name(const std::string& prefix, const std::string& part) {
  return prefix.empty() ? part : prefix + "." + part;
}
/// "part" and a number behind it, such as "blocks." and 3. (g++ 12 warns of literals that are put before a temporary.)
inline std::string numbered_name(std::string part, std::size_t number) { return part.append(std::to_string(number)); }

}  // namespace moevit
