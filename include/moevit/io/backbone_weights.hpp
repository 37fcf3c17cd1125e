/// Loads a backbone trained as a classifier, or by itself, into a segmenter or detector.
#pragma once

#include <moevit/io/weights.hpp>
#include <moevit/models/dense_model.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// What was found besides weights, and what was not.
struct BackboneReport {
  LoadReport file;                ///< `unused`: the classifier's tensors among others
  std::vector<std::string> kept;  ///< parameters of the backbone that the file does not have, which are as they were
};

namespace detail {

/// The backbone of a dense model without a classifier, as load() sees a model.
template <class Net>
struct BackbonePart {
  Net& net;

  std::vector<Parameter> parameters() {
    std::vector<Parameter> list = net.backbone().parameters();
    std::erase_if(list, [](const Parameter& parameter) { return !parameter.name.starts_with("stages."); });
    return list;
  }
  ModelDescription description() const { return net.backbone().description(); }
  /// Pixels are normalised as the backbone knows them; the size of images is the dense model's.
  void set_preprocessing(const Preprocessing& of_file) {
    Preprocessing own = net.preprocessing();
    own.mean = of_file.mean, own.deviation = of_file.deviation;
    net.set_preprocessing(std::move(own));
  }
  void set_class_names(const std::vector<std::string>&) {}  // those of another task
};

inline bool is_output_norm(const std::string& parameter) {
  return parameter.find(".output_norm.") != std::string::npos;
}

}  // namespace detail

/// Loads the stages of the backbone from a file under any naming that load() knows. The norms behind stages, which
/// classifiers do not have, may be missing: the report names them. Tensors of a classifier may stay unused, and the
/// class token of a CvT, to which the places of its last map attend and which maps leave out. Throws Error that lists
/// everything else that does not fit; the model is then as it was.
template <class Net>
BackboneReport load_backbone(Net& net, const std::filesystem::path& path, LoadOptions options = {}) {
  detail::refuse_zip(path);
  const TensorFile file = read_safetensors(path, {.allow_trailing_bytes = options.allow_trailing_bytes, .limits = {}});
  detail::BackbonePart<Net> part{net};
  const ModelDescription description = part.description();
  const NamedTensors named = recognise_naming(file, options.strip_prefix, options.naming);
  BackboneReport report;
  for (const Parameter& parameter : part.parameters()) {
    if (!detail::is_output_norm(parameter.name)) continue;
    const auto slice = find_foreign(*named.table, parameter.name, parameter.shape, description);
    if (slice && named.find(slice->name)) continue;
    report.kept.push_back(parameter.name);
    options.keep.push_back(parameter.name);
  }
  for (const char* classifier : {"norm.*", "head.*", "layernorm.*", "classifier.*"})
    options.ignore.push_back(classifier);
  for (const auto& [name, tensor] : named.tensors)
    if (name.ends_with("cls_token") || name.ends_with("class_token")) options.ignore.push_back(name);
  options.check_configuration = false;  // classifiers differ in image, classes and form; shapes are compared anyhow
  report.file = load(part, file, options);
  return report;
}

}  // namespace moevit
