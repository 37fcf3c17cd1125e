/// The elements of parameters as runs of neighbours in memory, for elementwise loops over raw storage.
#pragma once

#include <moevit/core/executor.hpp>
#include <moevit/core/parameter.hpp>

#include <algorithm>
#include <ranges>
#include <span>
#include <vector>

namespace moevit {

namespace detail {

/// Throws Error naming the parameter unless its elements are floats that can be changed.
template <class T>
void check_trainable(const BasicParameter<T>& parameter) {
  for (const T* matrix : parameter.matrices)
    if (!matrix && parameter.size() > 0)
      fail("parameter ", parameter.name, ": expected float32 weights, found packed ones");
}

/// Calls visit(logical, offset, count) for runs of `count` elements of one matrix: `logical` is where they begin in
/// logical order, `offset` where in memory. Padding is never visited. Logical positions rise.
template <class Visit>
void visit_layout_runs(const ParameterLayout& layout, Visit visit) {
  if (layout.panel == 0) return visit(Index{0}, layout.offset(0, 0), layout.rows * layout.cols);
  for (Index row = 0; row < layout.rows; ++row)
    for (Index col = 0; col < layout.cols;) {
      const Index to_panel_end = layout.panel - (layout.first_column + col) % layout.panel;
      const Index count = std::min(to_panel_end, layout.cols - col);
      visit(row * layout.cols + col, layout.offset(row, col), count);
      col += count;
    }
}

}  // namespace detail

/// Calls visit(logical, elements, count) for runs of elements of a parameter, in logical order.
template <class T, class Visit>
void visit_runs(const BasicParameter<T>& parameter, Visit visit) {
  Index first = 0;
  for (T* matrix : parameter.matrices) {
    detail::visit_layout_runs(parameter.layout, [&](Index logical, Index offset, Index count) {
      visit(first + logical, matrix + offset, count);
    });
    first += parameter.layout.rows * parameter.layout.cols;
  }
}

/// Calls visit(logical, elements, others, count) for runs of a parameter and one of the same layout, its gradient.
template <class T, class U, class Visit>
void visit_runs(const BasicParameter<T>& parameter, const BasicParameter<U>& other, Visit visit) {
  Index first = 0;
  for (std::size_t i = 0; i < parameter.matrices.size(); ++i) {
    T* const elements = parameter.matrices[i];
    const U* const others = other.matrices[i];
    detail::visit_layout_runs(parameter.layout, [&](Index logical, Index offset, Index count) {
      visit(first + logical, elements + offset, others + offset, count);
    });
    first += parameter.layout.rows * parameter.layout.cols;
  }
}

/// f(i) for each i of 0..count-1, the number of a parameter, on all workers: for work on one parameter that does not
/// look at others.
template <class F>
void each_parameter_in_parallel(std::size_t count, ExecutorRef executor, F&& f) {
  executor.run(static_cast<Index>(count), [&](Index i, Index) { f(static_cast<std::size_t>(i)); });
}

/// Sets all elements to zero: how an object that gradients are added up in begins, as norms begin with ones.
inline void set_to_zero(std::span<const Parameter> parameters, ExecutorRef executor = {}) {
  each_parameter_in_parallel(parameters.size(), executor, [&](std::size_t i) {
    visit_runs(parameters[i], [](Index, float* elements, Index count) { std::fill_n(elements, count, 0.f); });
  });
}

/// A list of parameters, of a model or a const model: std::vector or std::span.
template <class List>
concept ParameterList = std::ranges::random_access_range<List> && requires(const List& list) {
  list[0].name;
  list[0].layout;
};

/// Throws Error naming the parameter unless both lists have the same names, shapes and layouts in the same order, as
/// two objects of one model type have.
template <ParameterList First, ParameterList Second>
void require_same_parameters(const First& parameters, const Second& gradients) {
  if (parameters.size() != gradients.size())
    fail("parameters: expected ", parameters.size(), " gradients, found ", gradients.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& parameter = parameters[i];
    const auto& gradient = gradients[i];
    const ParameterLayout &a = parameter.layout, &b = gradient.layout;
    if (parameter.name != gradient.name)
      fail("parameter ", parameter.name, ": expected its gradient, found that of ", gradient.name);
    if (parameter.shape != gradient.shape)
      fail("parameter ", parameter.name, ": expected a gradient of shape ", to_string(parameter.shape), ", found ",
           to_string(gradient.shape));
    if (parameter.matrices.size() != gradient.matrices.size() || a.rows != b.rows || a.cols != b.cols ||
        a.first_column != b.first_column || a.panel != b.panel)
      fail("parameter ", parameter.name, ": expected a gradient of the same layout, found another");
    detail::check_trainable(parameter);
    detail::check_trainable(gradient);
  }
}

}  // namespace moevit
