/// A model whose type is not known until a file is opened: the few calls that the programs here make.
#pragma once

#include <moevit/io/weights.hpp>
#include <moevit/moevit.hpp>

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace examples {

/// What classify and routing_report ask of a model. A program with one model of its own needs nothing of this: it names
/// the type and calls it directly, as the program in README.md does.
class AnyModel {
 public:
  virtual ~AnyModel() = default;
  virtual moevit::ModelDescription description() const = 0;
  virtual const moevit::Preprocessing& preprocessing() const = 0;
  virtual const std::vector<std::string>& class_names() const = 0;
  /// Rows of outputs per image: the members of an ensemble, else 1.
  virtual moevit::Index outputs_per_image() const = 0;
  virtual moevit::Context context(moevit::ContextOptions options, moevit::ExecutorRef executor) const = 0;
  virtual void forward(std::span<const float> images, std::span<float> outputs, moevit::Context& context) const = 0;
  /// Loads weights that are already read. Throws moevit::Error when they do not fit.
  virtual void load(const moevit::TensorFile& file) = 0;
  virtual void save(const std::filesystem::path& path) const = 0;
};

/// AnyModel for one model type.
template <class Net>
class ModelHolder final : public AnyModel {
 public:
  moevit::ModelDescription description() const override { return net_.description(); }
  const moevit::Preprocessing& preprocessing() const override { return net_.preprocessing(); }
  const std::vector<std::string>& class_names() const override { return net_.class_names(); }
  moevit::Index outputs_per_image() const override { return Net::outputs_per_image; }
  moevit::Context context(moevit::ContextOptions options, moevit::ExecutorRef executor) const override {
    return net_.context(options, executor);
  }
  void forward(std::span<const float> images, std::span<float> outputs, moevit::Context& context) const override {
    net_.forward(images, outputs, context);
  }
  void load(const moevit::TensorFile& file) override { moevit::load(net_, file); }
  void save(const std::filesystem::path& path) const override { moevit::save(net_, path); }

 private:
  Net net_;
};

}  // namespace examples
