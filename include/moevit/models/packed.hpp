/// Models whose weights are stored for inference only: pack<Bf16>(net), pack<Int8>(net).
#pragma once

#include <moevit/models/fcos_decoding.hpp>
#include <moevit/models/sliding_window.hpp>
#include <moevit/models/vit.hpp>

#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// A storage policy says for each role how matrices are kept: `static constexpr Storage of(Role)`. It is asked for
/// embedding, attention, mlp, expert and head; routers, norms, biases and positions stay float32 whatever it says.
template <class P>
concept StoragePolicy = requires(Role role) {
  { P::of(role) } -> std::convertible_to<Storage>;
};

/// Whether matrices of this role are kept as the policy says; the others stay float32.
constexpr bool is_packed_role(Role role) {
  return role != Role::router && role != Role::norm && role != Role::statistics;
}

/// Everything float32: for files that are mapped instead of read.
struct Float32 {
  static constexpr Storage of(Role) { return Storage::float32; }
};

/// Half the bytes; products in bfloat16 with float32 sums on machines that have them (AMX, AVX512_BF16), else in
/// float32.
struct Bf16 {
  static constexpr Storage of(Role) { return Storage::bfloat16; }
};

/// Half the bytes, all arithmetic in float32: the results of weights that were rounded to bfloat16.
struct Bf16Weights {
  static constexpr Storage of(Role) { return Storage::bfloat16_weights; }
};

/// A quarter of the bytes in attention, MLPs and experts; first and last layer, which suffer most, as bfloat16.
struct Int8 {
  static constexpr Storage of(Role role) {
    return role == Role::embedding || role == Role::head ? Storage::bfloat16 : Storage::int8;
  }
};

namespace detail {

/// A matrix that a storage policy is for.
template <class Store>
struct PackedMatrix {
  Store store;
  Role role;
  std::size_t parameter;  ///< number of the first parameter whose elements it has
};

/// Every matrix of some parameters that a policy is for, once; parameters may share one.
template <class List>
auto matrices_to_pack(const List& parameters) {
  using Store = typename std::remove_cvref_t<decltype(parameters.front().stores)>::value_type;
  std::vector<PackedMatrix<Store>> list;
  std::set<Store> seen;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    for (Store store : parameters[i].stores)
      if (is_packed_role(parameters[i].role) && seen.insert(store).second)
        list.push_back({store, parameters[i].role, i});
  return list;
}
/// The same for all parameters of a model.
template <class Model>
auto packed_matrices(Model& model) {
  return matrices_to_pack(model.parameters());
}

/// Constants that classifiers have, and dense models have not.
template <class Net>
struct ClassifierConstants {};
template <class Net>
requires requires { Net::outputs_per_image; }
struct ClassifierConstants<Net> {
  static constexpr Index outputs_per_image = Net::outputs_per_image;
};

}  // namespace detail

/// Says that a packed model begins without weights.
struct Unpacked {};

/// A model of type Net that can be run, saved and mapped, but not changed. Runs like a Net: context(), forward(), and
/// segment() or detect() where a Net has them.
template <class Net, StoragePolicy Policy>
class Packed : public detail::ClassifierConstants<Net> {
 public:
  using NetType = Net;
  using PolicyType = Policy;
  static constexpr auto config = Net::config;
  static constexpr auto moe = Net::moe;

  /// Packs the weights of a float32 model.
  explicit Packed(Net net) : net_(std::move(net)) {
    for (const auto& matrix : detail::packed_matrices(net_)) matrix.store->convert(Policy::of(matrix.role));
  }
  /// The same with a storage for each of detail::packed_matrices(net), in that order. Throws Error when their number
  /// differs.
  Packed(Net net, const std::vector<Storage>& storages) : net_(std::move(net)) {
    const auto matrices = detail::packed_matrices(net_);
    if (matrices.size() != storages.size())
      fail("packing: expected storages of ", matrices.size(), " matrices, found ", storages.size());
    for (std::size_t i = 0; i < matrices.size(); ++i) matrices[i].store->convert(storages[i]);
  }
  /// A model whose matrices are still to be given by map() of each WeightMatrix.
  explicit Packed(Unpacked) {}

  Context context(ContextOptions options = {}) const { return net_.context(options); }
  Context context(ContextOptions options, ExecutorRef executor) const { return net_.context(options, executor); }
  /// As Vit::forward, with the bits of this storage: the same for any batch size, place and number of threads.
  void forward(std::span<const float> images, std::span<float> outputs, Context& context) const {
    net_.forward(images, outputs, context);
  }

  /// Of hierarchical models: see Hierarchical, DenseModel, Segmenter and Detector.
  Context context(ContextOptions options, MapSize largest) const { return net_.context(options, largest); }
  void forward(std::span<const float> images, MapSize size, std::span<float> outputs, Context& context) const {
    net_.forward(images, size, outputs, context);
  }
  void segment(std::span<const float> images, MapSize size, std::span<float> logits, Context& context) const {
    net_.segment(images, size, logits, context);
  }
  void segment(std::span<const float> images, MapSize size, std::span<float> logits, Context& context,
               const SlidingWindow& sliding) const {
    net_.segment(images, size, logits, context, sliding);
  }
  auto detect(std::span<const float> images, MapSize size, Context& context,
              const DetectionOptions& options = {}) const {
    return net_.detect(images, size, context, options);
  }

  ModelDescription description() const { return net_.description(); }
  const Preprocessing& preprocessing() const { return net_.preprocessing(); }
  const std::vector<std::string>& class_names() const { return net_.class_names(); }

  /// Bytes of all matrices that the policy is for.
  Index packed_bytes() const {
    Index bytes = 0;
    for (const auto& matrix : detail::packed_matrices(net_)) bytes += matrix.store->bytes();
    return bytes;
  }

  /// The model itself; the matrices of its parameters are null where they are not float32. For file formats.
  const Net& net() const { return net_; }
  Net& net() { return net_; }

 private:
  Net net_;
};

/// A copy of `net` with its weights stored as Policy says.
template <StoragePolicy Policy, class Net>
Packed<std::remove_cvref_t<Net>, Policy> pack(Net&& net) {
  return Packed<std::remove_cvref_t<Net>, Policy>(std::forward<Net>(net));
}

}  // namespace moevit
