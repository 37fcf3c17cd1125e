/// Fine-tuning: a model starts from one that was trained on other images or classes.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/io/resize_positions.hpp>
#include <moevit/train/parameter_runs.hpp>
#include <moevit/train/parameter_sources.hpp>

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// Where the classifier of a model that is fine-tuned comes from.
enum class HeadStart : unsigned char {
  zero,   ///< kernel and bias are 0, as V-MoE is fine-tuned: every class is equally likely at first
  kept,   ///< it stays as it was initialised
  copied  ///< from the trained model, for the same classes
};

/// Options of transfer().
struct TransferOptions {
  HeadStart head = HeadStart::zero;
  PositionResampling resampling = PositionResampling::zoom;  ///< the V-MoE authors' way: linear, both ends aligned
};

namespace detail {

inline PositionGrid position_grid(const VitConfig& vit) {
  return {vit.grid_rows(), vit.grid_columns(), vit.has_class_token()};
}
inline bool is_same_grid(const PositionGrid& a, const PositionGrid& b) {
  return a.rows == b.rows && a.columns == b.columns && a.token == b.token;
}

/// Whether both are the same but for what transfer() changes.
constexpr bool is_transferable(VitConfig from, const VitConfig& to) {
  from.image = to.image, from.image_width = to.image_width, from.classes = to.classes;
  if (to.representation == 0) from.representation = 0;
  return from == to;
}

/// The values of one parameter of the target from that of the source.
inline std::vector<float> transferred(const ConstParameter& source, const VitConfig& from, const Parameter& target,
                                      const VitConfig& to, PositionResampling resampling) {
  if (target.name != "position_embedding" || is_same_grid(position_grid(from), position_grid(to)))
    return source.values();
  std::vector<float> values = target.values();
  resize_positions(resampling, source.values(), position_grid(from), values, position_grid(to), to.dim);
  return values;
}

/// Preprocessing for the image size of `vit`; the side that is cut from grows in proportion.
inline Preprocessing resized(Preprocessing preprocessing, const VitConfig& vit) {
  preprocessing.shorter_side = preprocessing.shorter_side * vit.height() / preprocessing.height;
  preprocessing.height = vit.height(), preprocessing.width = vit.width();
  return preprocessing;
}

/// The shape a parameter of the source has to have.
inline Shape wanted_shape(const Parameter& target, const VitConfig& from) {
  return target.name == "position_embedding" ? Shape{from.tokens(), target.shape.back()} : target.shape;
}

}  // namespace detail

/// Copies the parameters of a trained model, of configuration `from`, to those of another, of configuration `to`:
/// position embeddings are resized to its grid, the classifier begins as options.head says, a tanh layer before it
/// ("representation") is left out where the target has none, as V-MoE is fine-tuned; everything else must have the same
/// names and shapes. Throws Error that lists what does not fit; the target is then as it was.
inline void transfer(std::span<const ConstParameter> source, const VitConfig& from, std::span<const Parameter> target,
                     const VitConfig& to, const TransferOptions& options = {}) {
  detail::NamedSources<ConstParameter> sources;
  const auto is_new_head = [&](const std::string& name) {
    return options.head != HeadStart::copied && name.starts_with("head.");
  };
  for (const ConstParameter& parameter : source) {
    detail::check_trainable(parameter);
    sources.add(parameter.name, parameter);
    if (is_new_head(parameter.name) || (to.representation == 0 && parameter.name.starts_with("representation.")))
      sources.leave(parameter.name);
  }
  std::vector<std::pair<const ConstParameter*, const Parameter*>> copies;
  for (const Parameter& parameter : target) {
    detail::check_trainable(parameter);
    if (is_new_head(parameter.name)) continue;
    const ConstParameter* found = sources.find(parameter.name, parameter.name);
    if (!found) continue;
    if (const Shape wanted = detail::wanted_shape(parameter, from); found->shape != wanted)
      sources.note(parameter.name + ": expected " + to_string(wanted) + ", found " + to_string(found->shape));
    copies.emplace_back(found, &parameter);
  }
  sources.check("transfer: the trained model does not fit this one, which is left as it was:");
  for (const auto& [found, parameter] : copies)
    parameter->assign(detail::transferred(*found, from, *parameter, to, options.resampling));
  for (const Parameter& parameter : target)
    if (options.head == HeadStart::zero && parameter.name.starts_with("head.")) set_to_zero({&parameter, 1});
}

/// Starts a model for images of another size or other classes from a trained one, as above; how images are normalised
/// is copied too, and with HeadStart::copied the names of the classes. What routes may differ: k, and the capacity,
/// which V-MoE raises to 1.5 in fine-tuning (RouterTraining::capacity_ratio). A weights file goes through load() with
/// LoadOptions::keep and resize_positions instead.
///
///     initialise(net.parameters());          // or HeadStart::zero, which needs none
///     transfer(trained, net);
template <class Source, class Target>
void transfer(const Source& source, Target& target, const TransferOptions& options = {}) {
  static_assert(detail::is_transferable(Source::config, Target::config),
                "transfer: both models must have the same VitConfig but for image size, classes and representation");
  transfer(source.parameters(), Source::config, target.parameters(), Target::config, options);
  target.set_preprocessing(detail::resized(source.preprocessing(), Target::config));
  if (options.head == HeadStart::copied) target.set_class_names(source.class_names());
}

}  // namespace moevit
