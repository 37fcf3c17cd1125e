/// The routers of a teacher in training, and what the student's routers learn from them.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/simd/layer_norm.hpp>
#include <moevit/train/initialise.hpp>
#include <moevit/train/trainer_options.hpp>

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace moevit {

/// The teacher's routers, D of the teacher x E and without bias, one for each sparse block of the student, and their
/// gradients. They are parameters of the training run but not of the student. See RoutingGuidance.
class RouterGuidance {
 public:
  /// Throws Error when teacher and student do not go together.
  RouterGuidance(const ModelDescription& student, const Preprocessing& preprocessing, const TrainerOptions& options)
      : options_(options.router.guidance), steps_(options.steps), experts_(student.moe.experts) {
    check(student, preprocessing);
    options_.teacher->reserve(options.loader.batch, options.threads);
    const Index dim = options_.teacher->config().dim;
    const auto kernel = static_cast<std::size_t>(dim * experts_);
    for (int block = 0; block < student.vit.depth; ++block)
      if (student.moe.placement.contains(block, student.vit.depth))
        routers_[block] = {std::vector<float>(kernel), std::vector<float>(kernel)};
    ones_.assign(static_cast<std::size_t>(dim), 1.f);
    const Index rows = options.loader.batch * student.vit.tokens();
    normed_.resize(static_cast<std::size_t>(rows * dim));
    logits_.resize(static_cast<std::size_t>(rows * experts_));
    d_logits_ = logits_;
    initialise(parameters(), {.seed = options.seed});
  }
  RouterGuidance(const RouterGuidance&) = delete;

  /// "teacher.blocks.1.router.kernel" and so on.
  std::vector<Parameter> parameters() {
    return list([](Router& router) { return router.kernel.data(); });
  }
  std::vector<Parameter> gradients() {
    return list([](Router& router) { return router.gradient.data(); });
  }

  /// Before the backward pass of step `step`, from 0, of these images.
  void start(std::span<const float> images, Index step) {
    loss_ = 0;
    is_active_ = options_.steps == GuidedSteps::all || 2 * step < steps_;
    if (is_active_) options_.teacher->run(images);
  }

  /// Adds the gradient of the student's imitation to that of its logits, tokens x E, and those of the teacher's router
  /// of this block to its own.
  void add(int block, ConstMatrixView student, MatrixView d_student) {
    if (!is_active_) return;
    Router& router = routers_.at(block);
    const MatrixView tokens = normalised(options_.teacher->features(block));
    const MatrixView logits(logits_.data(), tokens.rows(), experts_),
        d_logits(d_logits_.data(), tokens.rows(), experts_);
    const MatrixView kernel(router.kernel.data(), tokens.cols(), experts_);
    MatrixView(logits).noalias() = tokens.lazyProduct(kernel);  // compiles in a tenth of the time of a blocked one
    std::fill_n(d_logits.data(), d_logits.size(), 0.f);
    add_teacher_router_loss(logits, options_.teacher_losses, d_logits);
    MatrixView(router.gradient.data(), tokens.cols(), experts_).noalias() +=
        tokens.transpose().lazyProduct(d_logits);
    const double share = 1. / static_cast<double>(routers_.size());
    loss_ += share * add_teacher_loss(student, logits, share * options_.weight, d_student);
  }

  /// Mean over the sparse blocks of KL(teacher's || student's gates) in the step; 0 in one without guidance.
  double loss() const { return loss_; }

 private:
  struct Router {
    std::vector<float> kernel, gradient;  ///< D x E
  };

  void check(const ModelDescription& student, const Preprocessing& preprocessing) const {
    if (!options_.teacher) fail("teacher-guided routing: expected a teacher, found none");
    if (!(options_.weight >= 0) || !(options_.teacher_losses.balance >= 0) || !(options_.teacher_losses.entropy >= 0))
      fail("teacher-guided routing: expected weights from 0 up, found ", options_.weight, ", ",
           options_.teacher_losses.balance, ", ", options_.teacher_losses.entropy);
    if (student.family != ModelFamily::vmoe || student.moe.router != RouterKind::top_k || student.moe.members > 1)
      fail(
          "teacher-guided routing: expected a V-MoE with top-k routers, which decide for every token, and no ensemble");
    const VitConfig &own = student.vit, &other = options_.teacher->config();
    if (own.depth != other.depth)
      fail("teacher-guided routing: expected a teacher of ", own.depth, " blocks as the student's, found ",
           other.depth);
    if (own.grid_rows() != other.grid_rows() || own.grid_columns() != other.grid_columns() ||
        own.has_class_token() != other.has_class_token())
      fail("teacher-guided routing: expected a teacher with tokens as the student's, ", own.grid_rows(), " x ",
           own.grid_columns(), own.has_class_token() ? " and a class token" : "", ", found ", other.grid_rows(), " x ",
           other.grid_columns(), other.has_class_token() ? " and a class token" : "");
    if (options_.teacher->preprocessing() != preprocessing)
      fail("teacher-guided routing: the teacher takes images of other size or normalisation than the student");
  }

  template <class Data>
  std::vector<Parameter> list(Data data) {
    const Index dim = options_.teacher->config().dim;
    std::vector<Parameter> parameters;
    for (auto& [block, router] : routers_)
      parameters.push_back({"teacher.blocks." + std::to_string(block) + ".router.kernel",
                            {dim, experts_},
                            Role::router,
                            {data(router)},
                            {.rows = dim, .cols = experts_}});
    return parameters;
  }

  MatrixView normalised(ConstMatrixView tokens) {
    const MatrixView result(normed_.data(), tokens.rows(), tokens.cols());
    for (Index row = 0; row < tokens.rows(); ++row)
      simd::layer_norm_row(tokens.row_data(row), tokens.cols(), ones_.data(), nullptr, 1e-6f, result.row_data(row));
    return result;
  }

  RoutingGuidance options_;
  Index steps_;
  Index experts_;
  std::map<int, Router> routers_;  ///< by block
  std::vector<float> ones_, normed_, logits_, d_logits_;
  bool is_active_ = false;
  double loss_ = 0;
};

}  // namespace moevit
