/// Teacher-guided routing: what is asked of a teacher, and the options of training with one.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/core/tensor.hpp>
#include <moevit/train/teacher_loss.hpp>

#include <span>
#include <string>

namespace moevit {

/// A frozen model that sees the images of a student and shows what it makes of them; ModelTeacher is one.
class RouterTeacher {
 public:
  virtual ~RouterTeacher() = default;
  virtual const VitConfig& config() const = 0;
  /// What images must have gone through.
  virtual const Preprocessing& preprocessing() const = 0;
  /// A text that other weights have another one of.
  virtual std::string identity() const = 0;
  /// Before run(): for up to `images` images at once. Results do not depend on threads.
  virtual void reserve(Index images, Index threads) = 0;
  /// Computes the features of images, N x height x width x channels. Throws Error when there are too many.
  virtual void run(std::span<const float> images) = 0;
  /// The tokens behind a block, (N x T) x D, until the next run().
  virtual ConstMatrixView features(int block) const = 0;
};

/// In which steps routers imitate the teacher's.
enum class GuidedSteps : unsigned char { none, first_half, all };

/// Options of teacher-guided routing. In every sparse block a small router of the teacher reads the teacher's tokens
/// behind the same block, normalised to mean 0 and variance 1, and the student's router imitates its gates; both are
/// trained together, by one optimiser. The teacher does not change and is not needed afterwards. Kada et al. 2026 found
/// the first half of training best, 78.13 % to 77.81 % with all steps.
struct RoutingGuidance {
  GuidedSteps steps = GuidedSteps::none;
  RouterTeacher* teacher = nullptr;          ///< must outlive the trainer
  double weight = 5;                         ///< of the mean over the sparse blocks of KL(teacher's || student's gates)
  TeacherRouterWeights teacher_losses = {};  ///< summed over the sparse blocks
};

}  // namespace moevit
