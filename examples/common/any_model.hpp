/// A model whose type is not known until a file is opened: the few calls that the programs here make.
#pragma once

#include "common/in_precision.hpp"

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
  /// Loads weights that are already read; not after pack(). Throws moevit::Error when they do not fit.
  virtual void load(const moevit::TensorFile& file) = 0;
  virtual void save(const std::filesystem::path& path) const = 0;
  /// Stores the loaded weights in another precision, once.
  virtual void pack(Precision precision) = 0;
};

/// AnyModel for one model type, packed or not.
template <class Net>
class ModelHolder final : public AnyModel {
 public:
  moevit::ModelDescription description() const override {
    return visit([](const auto& model) { return model.description(); });
  }
  const moevit::Preprocessing& preprocessing() const override {
    return visit([](const auto& model) -> const auto& { return model.preprocessing(); });
  }
  const std::vector<std::string>& class_names() const override {
    return visit([](const auto& model) -> const auto& { return model.class_names(); });
  }
  moevit::Index outputs_per_image() const override { return Net::outputs_per_image; }
  moevit::Context context(moevit::ContextOptions options, moevit::ExecutorRef executor) const override {
    return visit([&](const auto& model) { return model.context(options, executor); });
  }
  void forward(std::span<const float> images, std::span<float> outputs, moevit::Context& context) const override {
    visit([&](const auto& model) { model.forward(images, outputs, context); });
  }
  void load(const moevit::TensorFile& file) override { model_.load(file); }
  void save(const std::filesystem::path& path) const override {
    visit([&](const auto& model) { moevit::save(model, path); });
  }
  void pack(Precision precision) override { model_.pack(precision); }

 private:
  template <class Visit>
  decltype(auto) visit(Visit visitor) const {
    return model_.visit(visitor);
  }

  InPrecision<Net> model_;
};

}  // namespace examples
