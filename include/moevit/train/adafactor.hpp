/// Adafactor: second moments of matrices kept as a row and a column.
#pragma once

#include <moevit/train/optimizer.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace moevit {

/// Options of Adafactor; defaults are optax.adafactor's.
struct AdafactorOptions {
  Index factored_from = 128;       ///< matrices are factored when both sides are at least this
  double decay_exponent = 0.8;     ///< the second moments' decay is 1 - steps^-exponent
  double epsilon = 1e-30;          ///< added to squared gradients
  double clip = 1;                 ///< on the root mean square of a parameter's update; 0: none
  bool scale_by_parameter = true;  ///< the learning rate is times the parameter's root mean square
  double smallest_scale = 1e-3;    ///< of that root mean square
  double momentum = 0;             ///< moving average of updates; 0: no state
  double weight_decay = 0;
  bool decay_by_rate = false;  ///< the weight decay is times the learning rate, as Adam's; optax does not do that
  DecayMask decays = is_kernel_but_router;
};

/// Shazeer and Stern 2018, with the arithmetic of optax.adafactor, but for which axes are factored: the last axis
/// against all before it, for each matrix of a stack of experts, where optax takes the two longest axes.
class Adafactor {
 public:
  /// Throws Error when options make no sense.
  explicit Adafactor(std::span<const Parameter> parameters, AdafactorOptions options = {})
      : options_(std::move(options)), trained_(parameters, options_.decays) {
    check_options();
    for (const Parameter& parameter : parameters) moments_.push_back(moments_of(parameter));
    if (options_.momentum != 0) trace_ = ParameterState("adafactor.trace", parameters);
  }

  /// One step. Throws Error naming the parameter when gradients or parameters are not those of the model it was made
  /// for; then nothing has changed.
  template <ParameterList Gradients>
  void step(std::span<const Parameter> parameters, const Gradients& gradients, double learning_rate,
            ExecutorRef executor = {}) {
    trained_.check(parameters, gradients);
    ++steps_;
    each_parameter_in_parallel(parameters.size(), executor, [&](std::size_t i) {
      std::vector<float> change = gradients[i].values();
      precondition(moments_[i], change);
      double factor = learning_rate;
      if (options_.clip > 0) factor /= std::max(1., root_mean_square(change) / options_.clip);
      if (options_.scale_by_parameter)
        factor *= std::max(root_mean_square(parameters[i].values()), options_.smallest_scale);
      for (float& value : change) value *= static_cast<float>(factor);
      if (options_.momentum != 0) average(trace_[i], change);
      const float decay = trained_.decays(i) ? decay_at(learning_rate) : 0.f;
      visit_runs(parameters[i], [&](Index first, float* values, Index count) {
        for (Index j = 0; j < count; ++j) values[j] -= change[static_cast<std::size_t>(first + j)] + decay * values[j];
      });
    });
  }

  Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// visit(name, values) for every state tensor: "adafactor.rows.NAME" and "adafactor.columns.NAME" or
  /// "adafactor.second.NAME", then "adafactor.trace.NAME" with momentum.
  template <class Visit>
  void each_state(Visit visit) {
    for (Moments& m : moments_) {
      if (m.is_factored) {
        visit(join_name("adafactor.rows", m.name), std::span<float>(m.rows));
        visit(join_name("adafactor.columns", m.name), std::span<float>(m.columns));
      } else {
        visit(join_name("adafactor.second", m.name), std::span<float>(m.whole));
      }
    }
    trace_.each(visit);
  }

 private:
  void check_options() const {
    if (options_.factored_from < 1)
      fail("adafactor: expected to factor matrices from a side of at least 1, found ", options_.factored_from);
    if (!(options_.decay_exponent > 0))
      fail("adafactor: expected a decay exponent above 0, found ", options_.decay_exponent);
    if (!(options_.clip >= 0)) fail("adafactor: expected to clip updates to a size from 0 up, found ", options_.clip);
    if (!(options_.momentum >= 0 && options_.momentum < 1))
      fail("adafactor: expected a momentum from 0 to below 1, found ", options_.momentum);
  }

  /// Second moments of one parameter: `matrices` of row_count x column_count elements.
  struct Moments {
    std::string name;
    Index matrices = 1, row_count = 1, column_count = 0;
    bool is_factored = false;
    std::vector<float> rows, columns;  // means of squares over columns and over rows, matrix by matrix
    std::vector<float> whole;
  };

  Moments moments_of(const Parameter& parameter) const {
    Moments m{.name = parameter.name, .rows = {}, .columns = {}, .whole = {}};
    m.matrices = static_cast<Index>(parameter.matrices.size());
    const Index size = m.matrices ? parameter.size() / m.matrices : 0;
    m.column_count = parameter.shape.empty() ? 1 : parameter.shape.back();
    m.row_count = m.column_count ? size / m.column_count : 0;
    m.is_factored = m.row_count >= options_.factored_from && m.column_count >= options_.factored_from;
    if (m.is_factored) {
      m.rows.assign(static_cast<std::size_t>(m.matrices * m.row_count), 0.f);
      m.columns.assign(static_cast<std::size_t>(m.matrices * m.column_count), 0.f);
    } else {
      m.whole.assign(static_cast<std::size_t>(parameter.size()), 0.f);
    }
    return m;
  }

  float decay_at(double learning_rate) const {
    return static_cast<float>(options_.weight_decay * (options_.decay_by_rate ? learning_rate : 1.));
  }

  /// change (a gradient in logical order) /= the root of its second moments, which take it in first.
  void precondition(Moments& m, std::vector<float>& change) const {
    const double decay = 1. - std::pow(static_cast<double>(steps_), -options_.decay_exponent);
    if (m.is_factored) {
      for (Index matrix = 0; matrix < m.matrices; ++matrix) precondition_matrix(m, matrix, decay, change.data());
      return;
    }
    const auto old = static_cast<float>(decay), rest = static_cast<float>(1. - decay);
    const auto epsilon = static_cast<float>(options_.epsilon);
    for (std::size_t i = 0; i < change.size(); ++i) {
      m.whole[i] = old * m.whole[i] + rest * (change[i] * change[i] + epsilon);
      change[i] /= std::sqrt(m.whole[i]);
    }
  }

  void precondition_matrix(Moments& m, Index matrix, double decay, float* change) const {
    float* elements = change + matrix * m.row_count * m.column_count;
    float *rows = m.rows.data() + matrix * m.row_count, *columns = m.columns.data() + matrix * m.column_count;
    const auto row_total = static_cast<double>(m.row_count), column_total = static_cast<double>(m.column_count);
    std::vector<double> sums(static_cast<std::size_t>(m.column_count), 0.);
    double mean = 0;  // of `rows`
    for (Index row = 0; row < m.row_count; ++row) {
      double sum = 0;
      for (Index col = 0; col < m.column_count; ++col) {
        const auto value = static_cast<double>(elements[row * m.column_count + col]);
        sum += value * value + options_.epsilon;
        sums[static_cast<std::size_t>(col)] += value * value + options_.epsilon;
      }
      rows[row] = static_cast<float>(decay * static_cast<double>(rows[row]) + (1. - decay) * sum / column_total);
      mean += static_cast<double>(rows[row]) / row_total;
    }
    std::vector<float> inverse(sums.size());
    for (std::size_t i = 0; i < sums.size(); ++i) {
      columns[i] = static_cast<float>(decay * static_cast<double>(columns[i]) + (1. - decay) * sums[i] / row_total);
      inverse[i] = 1.f / std::sqrt(columns[i]);
    }
    for (Index row = 0; row < m.row_count; ++row) {
      const auto factor = static_cast<float>(std::sqrt(mean / static_cast<double>(rows[row])));
      for (Index col = 0; col < m.column_count; ++col)
        elements[row * m.column_count + col] *= factor * inverse[static_cast<std::size_t>(col)];
    }
  }

  /// trace = momentum * trace + (1 - momentum) * change; change = trace.
  void average(std::vector<float>& trace, std::vector<float>& change) const {
    const auto old = static_cast<float>(options_.momentum), rest = static_cast<float>(1. - options_.momentum);
    for (std::size_t i = 0; i < change.size(); ++i) change[i] = trace[i] = old * trace[i] + rest * change[i];
  }

  static double root_mean_square(const std::vector<float>& values) {
    double sum = 0;
    for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
    return values.empty() ? 0. : std::sqrt(sum / static_cast<double>(values.size()));
  }

  AdafactorOptions options_;
  detail::TrainedParameters trained_;
  std::vector<Moments> moments_;
  ParameterState trace_;
  Index steps_ = 0;
};

}  // namespace moevit
