/// The losses that a model's routers learn from beside the classifier's.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/moe/loss_gradients.hpp>
#include <moevit/moe/routing.hpp>
#include <moevit/train/targets.hpp>
#include <moevit/train/trainer_options.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace moevit {

/// Auxiliary losses of top-k routers and the super-class loss of a Mobile V-MoE's router, summed over one step.
class RouterLosses {
 public:
  /// Throws Error when super-classes do not fit the model, or weights make no sense.
  RouterLosses(const ModelDescription& model, RouterTraining options)
      : options_(std::move(options)),
        has_auxiliary_((model.moe.router == RouterKind::top_k || model.moe.router == RouterKind::cosine) &&
                       (options_.losses.importance > 0 || options_.losses.load > 0 || options_.losses.gshard > 0 ||
                        options_.losses.z > 0)),
        experts_(model.moe.experts),
        members_(model.moe.members) {
    check_weights();
    if (options_.routing != ImageRouting::learned && model.family != ModelFamily::mobile_vmoe)
      fail("image routing: expected a Mobile V-MoE, whose router decides once per image");
    if (options_.super_classes.empty()) return;
    if (model.family != ModelFamily::mobile_vmoe)
      fail("super-classes: expected a Mobile V-MoE, whose router decides once per image");
    if (std::ssize(options_.super_classes) != model.vit.classes)
      fail("super-classes: expected one for each of ", model.vit.classes, " classes, found ",
           options_.super_classes.size());
    for (const std::int32_t group : options_.super_classes)
      if (group < 0 || group >= experts_)
        fail("super-classes: expected numbers from 0 to ", experts_ - 1, ", one per expert, found ", group);
  }

  /// Before the backward pass of a step. targets: images x classes, without smoothing.
  void start(ConstMatrixView targets) {
    auxiliary_ = router_ = 0;
    if (options_.super_classes.empty()) return;
    super_targets_.resize(static_cast<std::size_t>(targets.rows() * experts_));
    super_class_targets(targets, options_.super_classes, MatrixView(super_targets_.data(), targets.rows(), experts_));
  }

  /// Adds the gradients of one router's losses to that of its logits. Auxiliary losses are means over groups, and over
  /// the members of an ensemble, each of which has the experts of its own.
  void add(const Routing& routing, const RoutingOptions& options, Index images, Index tokens, MatrixView d_logits) {
    if (!options_.super_classes.empty())
      router_ += add_router_cross_entropy(routing.logits(), {super_targets_.data(), images, experts_},
                                          options_.super_class_weight, d_logits);
    if (!has_auxiliary_) return;
    const bool is_per_image = routing.rows() != images * members_ * tokens;
    const Index group = is_per_image ? routing.rows() : tokens_per_group(options, images, members_ * tokens);
    const double weight = static_cast<double>(group) / static_cast<double>(routing.rows() * members_);
    const ConstMatrixView noisy = routing.noisy_logits();
    for (Index first = 0; first < routing.rows(); first += group)
      if (members_ == 1)
        add_auxiliary(routing.logits().rows_of(first, group), noisy.rows() ? noisy.rows_of(first, group) : noisy,
                      options, weight, d_logits.rows_of(first, group));
      else
        for (Index member = 0; member < members_; ++member)
          add_of_member(routing, options, {rows_of(first, group, tokens, member), member * experts_ / members_}, weight,
                        d_logits);
  }

  double auxiliary() const { return auxiliary_; }
  double router() const { return router_; }

 private:
  void check_weights() const {
    const auto check = [](const char* loss, double weight) {
      if (!(weight >= 0)) fail(loss, ": expected a weight from 0 up, found ", weight);
    };
    check("importance loss", options_.losses.importance);
    check("load loss", options_.losses.load);
    check("GShard loss", options_.losses.gshard);
    check("router z-loss", options_.losses.z);
  }

  void add_auxiliary(ConstMatrixView logits, ConstMatrixView noisy, const RoutingOptions& options, double weight,
                     MatrixView d_logits) {
    auxiliary_ += weight * auxiliary_losses(logits, noisy, options.selected, options.noise_std, options_.losses).total;
    add_auxiliary_gradient(logits, noisy, options.selected, options.noise_std, options_.losses, weight, d_logits);
  }

  /// What the losses of a member are over: its tokens in a group, and the columns of the experts that they choose from.
  struct Part {
    std::vector<Index> rows;
    Index first_column = 0;
  };

  /// The rows of a member in a group, whose positions run over (image, token, member) while rows run over (image,
  /// member, token).
  std::vector<Index> rows_of(Index first, Index group, Index tokens, Index member) const {
    std::vector<Index> rows;
    for (Index position = first; position < first + group; ++position) {
      const Index image = position / (tokens * members_), token = position / members_ % tokens;
      if (position % members_ == member) rows.push_back((image * members_ + member) * tokens + token);
    }
    return rows;
  }

  RowMajorMatrix gather(ConstMatrixView all, const Part& part) const {
    RowMajorMatrix own(std::ssize(part.rows), experts_ / members_);
    for (Index row = 0; row < own.rows(); ++row)
      std::copy_n(all.row_data(part.rows[static_cast<std::size_t>(row)]) + part.first_column, own.cols(),
                  own.data() + row * own.cols());
    return own;
  }

  void add_of_member(const Routing& routing, const RoutingOptions& options, const Part& part, double weight,
                     MatrixView d_logits) {
    const auto view = [](const RowMajorMatrix& matrix) {
      return ConstMatrixView(matrix.data(), matrix.rows(), matrix.cols());
    };
    const bool has_noise = routing.noisy_logits().rows() > 0;
    const RowMajorMatrix clean = gather(routing.logits(), part);
    const RowMajorMatrix with_noise =
        has_noise ? gather(routing.noisy_logits(), part) : RowMajorMatrix(0, clean.cols());
    RowMajorMatrix gradient = gather(d_logits, part);
    add_auxiliary(view(clean), view(with_noise), options, weight, {gradient.data(), gradient.rows(), gradient.cols()});
    for (Index row = 0; row < gradient.rows(); ++row)
      std::copy_n(gradient.data() + row * gradient.cols(), gradient.cols(),
                  d_logits.row_data(part.rows[static_cast<std::size_t>(row)]) + part.first_column);
  }

  RouterTraining options_;
  bool has_auxiliary_;
  Index experts_;
  Index members_;
  std::vector<float> super_targets_;
  double auxiliary_ = 0;
  double router_ = 0;
};

}  // namespace moevit
