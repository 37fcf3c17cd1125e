/// Models and layers of compile-time configurations behind run-time interfaces. Each generated source registers one
/// type for the golden cases that have its configuration; this header keeps those sources small and quick to compile.
#pragma once

#include <moevit/models/hierarchical_backpropagation.hpp>
#include <moevit/moe/residual_expert_bank.hpp>
#include <moevit/moevit.hpp>
#include <moevit/train/parameter_runs.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moevit::test {

/// Adds the gradient of the auxiliary losses of a sparse block to that of its router's logits.
using AddBlockLosses = std::function<void(int block, const Routing& routing, MatrixView d_logits)>;

/// What a model's loss is made of.
struct LossOfModel {
  std::function<void(Context& context)> prepare;  ///< sets routing options
  /// The gradient of the loss to the outputs.
  std::function<std::vector<float>(std::span<const float> outputs)> d_outputs;
  AddBlockLosses add_losses;
};

/// A model of any configuration.
class AnyModel {
 public:
  virtual ~AnyModel() = default;
  virtual std::vector<Parameter> parameters() = 0;
  virtual ModelDescription description() const = 0;
  virtual const Preprocessing& preprocessing() const = 0;
  virtual void set_preprocessing(Preprocessing preprocessing) = 0;
  virtual void set_class_names(std::vector<std::string> names) = 0;
  virtual Context context(ContextOptions options) const = 0;
  virtual void forward(std::span<const float> images, std::span<float> outputs, Context& context) const = 0;
  virtual Index outputs_per_image() const = 0;
  /// The gradient of a loss, as the parameters of another model of this type, and that of the images.
  virtual std::unique_ptr<AnyModel> gradients(std::span<const float> images, ContextOptions options,
                                              const LossOfModel& loss, std::span<float> d_images) const = 0;
  /// Lets running statistics follow one training pass.
  virtual void follow_statistics(std::span<const float> images, ContextOptions options) = 0;
};

template <class Model>
class TypedModel : public AnyModel {
 public:
  std::vector<Parameter> parameters() override { return model_.parameters(); }
  ModelDescription description() const override { return model_.description(); }
  const Preprocessing& preprocessing() const override { return model_.preprocessing(); }
  void set_preprocessing(Preprocessing preprocessing) override { model_.set_preprocessing(std::move(preprocessing)); }
  void set_class_names(std::vector<std::string> names) override { model_.set_class_names(std::move(names)); }
  Context context(ContextOptions options) const override { return model_.context(options); }
  void forward(std::span<const float> images, std::span<float> outputs, Context& context) const override {
    model_.forward(images, outputs, context);
  }
  Index outputs_per_image() const override { return Model::outputs_per_image; }
  std::unique_ptr<AnyModel> gradients(std::span<const float> images, ContextOptions options, const LossOfModel& loss,
                                      std::span<float> d_images) const override {
    auto result = std::make_unique<TypedModel>();
    set_to_zero(result->parameters());
    if constexpr (requires { Backpropagation(model_); }) {
      Backpropagation run(model_, {.images = options.images, .threads = options.threads, .selected = options.selected});
      if (loss.prepare) loss.prepare(run.context());
      run.add_losses = loss.add_losses;
      const Index count = static_cast<Index>(images.size()) / Model::config.image_values();
      std::vector<float> outputs(static_cast<std::size_t>(count * outputs_per_image() * Model::config.outputs()));
      run.forward(model_, images, outputs);
      run.backward(model_, loss.d_outputs(outputs), result->model_, d_images);
    } else {
      fail("this type of model has no training passes");
    }
    return result;
  }

  void follow_statistics(std::span<const float> images, ContextOptions options) override {
    if constexpr (requires { Backpropagation(model_).follow_statistics(model_); }) {
      Backpropagation run(model_, {.images = options.images, .threads = options.threads});
      const Index count = static_cast<Index>(images.size()) / Model::config.image_values();
      std::vector<float> outputs(static_cast<std::size_t>(count * Model::config.outputs()));
      run.forward(model_, images, outputs);
      run.follow_statistics(model_);
    } else {
      fail("this type of model has no statistics over batches");
    }
  }

 private:
  Model model_;
};

/// Tokens for a layer: images * copies * tokens_per_image rows.
struct LayerInput {
  ConstMatrixView x;
  Index images = 0;
  Index tokens_per_image = 0;
  RoutingOptions options;
};

/// The sparse part of a block, or a whole block, alone.
class AnyLayer {
 public:
  virtual ~AnyLayer() = default;
  virtual std::vector<Parameter> parameters() = 0;
  /// heads, members: what loading needs to know.
  virtual ModelDescription description() const = 0;
  /// y = layer(x); returns the context that it ran in, whose block 0 has the routing.
  virtual Context run(const LayerInput& input, MatrixView y) const = 0;
  /// The gradient of sum(y * cotangent) + losses, as the parameters of another layer of this type, and that of x.
  virtual std::unique_ptr<AnyLayer> gradients(const LayerInput& /*input*/, ConstMatrixView /*cotangent*/,
                                              const AddBlockLosses& /*add_losses*/, MatrixView /*d_x*/) const {
    fail("this type of layer has no training passes");
  }
};

namespace detail {

/// A context for one sparse block.
inline Context layer_context(ScratchBytes scratch, const LayerInput& input) {
  Context context(scratch, {.images = input.images}, {}, {0}, 1);
  context.routing = input.options;
  return context;
}

/// The losses of block 0.
inline AddLossGradient losses_of_layer(const AddBlockLosses& add_losses) {
  if (!add_losses) return {};
  return [&](const Routing& routing, MatrixView d_logits) { add_losses(0, routing, d_logits); };
}

template <class Layer>
std::vector<Parameter> parameters_of(Layer& layer, const std::string& prefix) {
  std::vector<Parameter> list;
  Layer::each_parameter(layer, prefix, [&](auto&& parameter) { list.push_back(std::move(parameter)); });
  return list;
}

}  // namespace detail

/// A SparseMlp or SoftMlp whose router stands in the block: parameters blocks.0.moe.*, y = what it adds to the stream.
template <class Sparse>
class TypedSparseMlp : public AnyLayer {
 public:
  std::vector<Parameter> parameters() override { return detail::parameters_of(sparse_, "blocks.0.moe"); }
  ModelDescription description() const override { return {ModelFamily::custom, {}, Sparse::defaults}; }
  Context run(const LayerInput& input, MatrixView y) const override {
    Context context =
        detail::layer_context(Sparse::scratch(input.options, input.images, input.tokens_per_image), input);
    y.setZero();
    sparse_.forward({input.x, y, nullptr, input.images, input.tokens_per_image, Sparse::copies, 0}, context);
    return context;
  }
  std::unique_ptr<AnyLayer> gradients(const LayerInput& input, ConstMatrixView cotangent,
                                      const AddBlockLosses& add_losses, MatrixView d_x) const override {
    auto result = std::make_unique<TypedSparseMlp>();
    set_to_zero(result->parameters());
    if constexpr (Sparse::is_trainable) {
      Context context =
          detail::layer_context(Sparse::training_scratch(input.options, input.images, input.tokens_per_image), input);
      Arena memory(Sparse::saved_bytes(input.options, input.images, input.tokens_per_image));
      const auto saved = Sparse::take_saved(input.options, input.images, input.tokens_per_image, memory);
      RowMajorMatrix y = RowMajorMatrix::Zero(input.x.rows(), input.x.cols());
      const BlockRows rows{
          input.x, {y.data(), y.rows(), y.cols()}, nullptr, input.images, input.tokens_per_image, Sparse::copies, 0};
      sparse_.forward_saved(rows, saved, false, context);
      d_x.setZero();
      PlanGradient plan;
      sparse_.backward(rows, saved, cotangent, result->sparse_, plan, detail::losses_of_layer(add_losses), d_x,
                       context);
    } else {
      fail("this type of layer has no training passes");
    }
    return result;
  }

 private:
  Sparse sparse_;
};

/// The router of a Mobile V-MoE and the experts of one block: parameters router.*, blocks.0.moe.*.
template <class Sparse>
class TypedPerImageMlp : public AnyLayer {
  using RouterType = typename Sparse::RouterOfModel;

 public:
  std::vector<Parameter> parameters() override {
    std::vector<Parameter> list = detail::parameters_of(router_, "router");
    for (Parameter& parameter : detail::parameters_of(sparse_, "blocks.0.moe")) list.push_back(std::move(parameter));
    return list;
  }
  ModelDescription description() const override { return {ModelFamily::mobile_vmoe, {}, Sparse::defaults}; }
  Context run(const LayerInput& input, MatrixView y) const override {
    const ScratchBytes experts = Sparse::scratch(input.options, input.images, input.tokens_per_image);
    Context context =
        detail::layer_context(one_after_the_other(experts, {RouterType::scratch_bytes(input.images), 0}), input);
    const BlockRows rows{input.x, y, nullptr, input.images, input.tokens_per_image, 1, 0};
    router_.route(rows.request(context), context.routing_of(0));
    y.setZero();
    sparse_.forward(rows, context);
    return context;
  }
  std::unique_ptr<AnyLayer> gradients(const LayerInput& input, ConstMatrixView cotangent,
                                      const AddBlockLosses& add_losses, MatrixView d_x) const override {
    auto result = std::make_unique<TypedPerImageMlp>();
    set_to_zero(result->parameters());
    const ScratchBytes experts = Sparse::training_scratch(input.options, input.images, input.tokens_per_image);
    Context context = detail::layer_context(
        one_after_the_other(experts, one_after_the_other({RouterType::scratch_bytes(input.images), 0},
                                                         RouterType::backward_scratch(input.images))),
        input);
    Arena memory(Sparse::saved_bytes(input.options, input.images, input.tokens_per_image));
    const auto saved = Sparse::take_saved(input.options, input.images, input.tokens_per_image, memory);
    RowMajorMatrix y = RowMajorMatrix::Zero(input.x.rows(), input.x.cols());
    const BlockRows rows{input.x, {y.data(), y.rows(), y.cols()}, nullptr, input.images, input.tokens_per_image, 1, 0};
    Routing& routing = context.routing_of(0);
    router_.route(rows.request(context), routing);
    sparse_.forward_saved(rows, saved, false, context);
    d_x.setZero();
    PlanGradient plan;
    plan.start(routing.plan);
    const AddLossGradient losses = detail::losses_of_layer(add_losses);
    sparse_.backward(rows, saved, cotangent, result->sparse_, plan, losses, d_x, context);
    router_.backward(rows.request(context), routing, plan, losses, result->router_, d_x);
    return result;
  }

 private:
  RouterType router_;
  Sparse sparse_;
};

/// A whole block of `vit`: parameters blocks.0.*. With Dense there is no routing.
template <VitConfig vit, class Sparse = Dense>
class TypedBlock : public AnyLayer {
  static constexpr bool dense = std::is_same_v<Sparse, Dense>;
  using Block = typename std::conditional_t<dense, std::type_identity<DenseBlock<vit>>,
                                            std::type_identity<SparseBlock<vit, Sparse>>>::type;

 public:
  std::vector<Parameter> parameters() override { return detail::parameters_of(block_, "blocks.0"); }
  ModelDescription description() const override { return {ModelFamily::custom, vit, Sparse::defaults}; }
  Context run(const LayerInput& input, MatrixView y) const override {
    Context context = detail::layer_context(scratch(input), input);
    y = input.x;
    if constexpr (dense)
      block_.forward(y, context.workspace());
    else
      block_.forward(y, input.images, 1, 0, context);
    return context;
  }
  std::unique_ptr<AnyLayer> gradients(const LayerInput& input, ConstMatrixView cotangent,
                                      const AddBlockLosses& add_losses, MatrixView d_x) const override {
    auto result = std::make_unique<TypedBlock>();
    set_to_zero(result->parameters());
    const MatrixView d(d_x.data(), d_x.rows(), d_x.cols());
    d_x = cotangent;
    RowMajorMatrix y(input.x.rows(), input.x.cols());
    const MatrixView out(y.data(), y.rows(), y.cols());
    if constexpr (dense) {
      Context context = detail::layer_context(Block::training_scratch(input.images), input);
      Arena memory(Block::saved_bytes(input.x.rows()));
      const auto saved = Block::take_saved(input.x.rows(), memory);
      block_.forward_saved(input.x, saved, out, context.workspace());
      block_.backward(input.x, saved, result->block_, d, context.workspace());
    } else {
      Context context = detail::layer_context(Block::training_scratch(input.options, input.images), input);
      Arena memory(Block::saved_bytes(input.options, input.images));
      const auto saved = Block::take_saved(input.options, input.images, memory);
      block_.forward_saved(input.x, input.images, 1, 0, saved, false, out, context);
      PlanGradient plan;
      block_.backward(input.x, input.images, 1, 0, saved, result->block_, plan, detail::losses_of_layer(add_losses), d,
                      context);
    }
    return result;
  }

 private:
  static ScratchBytes scratch(const LayerInput& input) {
    if constexpr (dense) {
      return Block::scratch(input.images);
    } else {
      ScratchBytes bytes = Sparse::scratch(input.options, input.images, vit.tokens());
      bytes.shared += arena_bytes<float>(input.images * vit.tokens() * vit.dim);  // the normalised tokens
      return one_after_the_other(bytes, Attention<vit>::scratch(input.images, vit.tokens()));
    }
  }

  Block block_;
};

/// The patch embedding of `vit` alone: parameters patch_embedding.* (and class token and positions if it has them).
/// x: images x values, y: tokens x D.
template <VitConfig vit>
class TypedEmbedding : public AnyLayer {
 public:
  std::vector<Parameter> parameters() override {
    std::vector<Parameter> list;
    PatchEmbedding<vit>::each_parameter(embedding_, [&](auto&& parameter) { list.push_back(std::move(parameter)); });
    return list;
  }
  ModelDescription description() const override { return {ModelFamily::custom, vit, {}}; }
  Context run(const LayerInput& input, MatrixView y) const override {
    Context context = detail::layer_context(PatchEmbedding<vit>::scratch(), input);
    const std::span<const float> images(input.x.data(), static_cast<std::size_t>(input.x.size()));
    embedding_.forward(images, y, context.workspace());
    return context;
  }

 private:
  PatchEmbedding<vit> embedding_;
};

/// Makers of the types of all cases, by kind of use and case.
template <class Any>
class TypeRegistry {
 public:
  using Maker = std::unique_ptr<Any> (*)();

  static TypeRegistry& instance() {
    static TypeRegistry registry;
    return registry;
  }
  void add(const std::string& key, Maker maker) { makers_[key] = maker; }
  /// Throws Error when there is no type for the case: other manifests were there when the tests were configured.
  std::unique_ptr<Any> make(const std::string& key) const {
    const auto found = makers_.find(key);
    if (found == makers_.end())
      fail("no type was generated for ", key,
           "; configure the tests with MOEVIT_GOLDEN_DIR and MOEVIT_CHECKPOINT_DIR as they are run");
    return found->second();
  }

 private:
  std::map<std::string, Maker> makers_;
};

/// Registers `Typed` for the cases with these keys, when the program starts.
template <class Any, class Typed>
struct Registration {
  explicit Registration(std::initializer_list<const char*> keys) {
    for (const char* key : keys)
      TypeRegistry<Any>::instance().add(key, []() -> std::unique_ptr<Any> { return std::make_unique<Typed>(); });
  }
};
template <class Typed>
using ModelFor = Registration<AnyModel, Typed>;
template <class Typed>
using LayerFor = Registration<AnyLayer, Typed>;

}  // namespace moevit::test
