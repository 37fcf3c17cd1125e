/// Files of packed models: moevit::save(packed, path), moevit::load_packed<Net, Policy>(path). Weights lie in them as
/// kernels read them, so they are mapped, not copied.
#pragma once

#include <moevit/io/weights.hpp>
#include <moevit/models/packed.hpp>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// The layout of simd/packed.hpp, as metadata "moevit.layout" names it.
inline constexpr const char* packed_layout = "panels-1";

namespace detail {

/// A matrix of a packed model, under the name its panels have in a file.
template <class Store>
struct NamedStore {
  std::string name;
  Store store;
  Role role;
};

/// One name for parameters that share a matrix: "a.query.kernel", "a.key.kernel" -> "a.query_key.kernel".
inline std::string shared_name(const std::vector<std::string>& names) {
  const std::string& first = names.front();
  if (names.size() == 1) return first;
  const std::size_t last_dot = first.rfind('.'), part = first.rfind('.', last_dot - 1) + 1;
  std::string parts;
  for (const std::string& name : names) parts += (parts.empty() ? "" : "_") + name.substr(part, name.rfind('.') - part);
  return first.substr(0, part) + parts + first.substr(last_dot);
}

/// Every matrix of a model that is stored in panels. Experts are numbered behind the name of their parameter.
template <class Net>
auto named_stores(Net& net) {
  const auto parameters = net.parameters();
  const auto matrices = packed_matrices(net);
  std::vector<NamedStore<std::remove_cvref_t<decltype(matrices.front().store)>>> result;
  for (const auto& matrix : matrices) {
    std::vector<std::string> names;
    for (const auto& parameter : parameters)
      for (std::size_t i = 0; i < parameter.stores.size(); ++i)
        if (parameter.stores[i] == matrix.store)
          names.push_back(parameter.stores.size() > 1 ? join_name(parameter.name, std::to_string(i)) : parameter.name);
    result.push_back({shared_name(names), matrix.store, matrix.role});
  }
  return result;
}

/// The parameters that are not in panels: vectors, positions, routers.
template <class Net>
auto plain_parameters(Net& net) {
  auto list = net.parameters();
  std::erase_if(list, [](const auto& p) { return !p.stores.empty() && is_packed_role(p.role); });
  return list;
}

/// The panels of a matrix as a tensor: panels x units x columns x numbers of a unit.
inline StoredTensor panel_tensor(const std::string& name, const WeightMatrix& store, Storage storage) {
  const simd::WeightFormat format = weight_format(storage);
  const Index panel = simd::panel_width(store.cols());
  StoredTensor tensor{name, "F32", {store.padded_cols() / panel, simd::column_units(format, store.rows()), panel}, {}};
  if (format == simd::WeightFormat::float32) return tensor;
  tensor.type = format == simd::WeightFormat::bfloat16 ? "BF16" : "I8";
  tensor.shape.push_back(simd::rows_per_unit(format));
  return tensor;
}

/// A tensor of `file` that must look like `expected`, at a place that can be mapped.
inline const std::byte* mapped_tensor(const TensorFile& file, const StoredTensor& expected) {
  const StoredTensor& found = file.at(expected.name);
  if (found.type != expected.type || found.shape != expected.shape)
    fail(file.path().string(), ": tensor '", expected.name, "': expected ", expected.type, " ",
         to_string(expected.shape), ", found ", found.type, " ", to_string(found.shape));
  if (reinterpret_cast<std::uintptr_t>(found.bytes.data()) % cache_line != 0)
    fail(file.path().string(), ": tensor '", expected.name, "': expected at a multiple of ", cache_line,
         " bytes in the file, as save() puts it");
  return found.bytes.data();
}

/// Points a matrix to its panels in a file.
inline void map_store(const TensorFile& file, const std::string& name, Storage storage, WeightMatrix& store) {
  WeightMatrix::Mapped mapped{file.storage(), mapped_tensor(file, panel_tensor(name, store, storage))};
  if (storage == Storage::int8) {
    const Shape columns{store.padded_cols()};
    mapped.scales = reinterpret_cast<const float*>(mapped_tensor(file, {name + ".scales", "F32", columns, {}}));
    mapped.offsets =
        reinterpret_cast<const std::int32_t*>(mapped_tensor(file, {name + ".offsets", "I32", columns, {}}));
    for (Index col = 0; col < store.padded_cols(); ++col)
      if (!std::isfinite(mapped.scales[col]))
        fail(file.path().string(), ": tensor '", name, ".scales': expected finite values, found ", mapped.scales[col],
             " at element ", col);
  }
  store.map(storage, std::move(mapped));
}

/// How a matrix of a file is kept: as the policy says, or in bfloat16 where a calibration lifted it from int8.
inline Storage storage_in(const TensorFile& file, const std::string& name, Storage wanted) {
  return wanted == Storage::int8 && file.at(name).type == "BF16" ? Storage::bfloat16 : wanted;
}

/// Points all matrices of a model to their panels; returns the names of the tensors that hold them.
template <StoragePolicy Policy, class Net>
std::vector<std::string> map_stores(const TensorFile& file, Net& net) {
  std::vector<std::string> names;
  for (const auto& [name, store, role] : named_stores(net)) {
    const Storage storage = storage_in(file, name, Policy::of(role));
    map_store(file, name, storage, *store);
    names.push_back(name);
    if (storage == Storage::int8) names.insert(names.end(), {name + ".scales", name + ".offsets"});
  }
  return names;
}

}  // namespace detail

/// Writes a packed model: matrices in panels as they are in memory, on multiples of 64 bytes; all else as float32 under
/// our own names; configuration, preprocessing and class names. The file appears whole or not at all. Throws Error when
/// it cannot be written.
template <class Net, class Policy>
void save(const Packed<Net, Policy>& packed, const std::filesystem::path& path) {
  std::vector<StoredTensor> tensors;
  const auto add = [&](StoredTensor tensor, const void* data, Index bytes) {
    tensor.bytes = {static_cast<const std::byte*>(data), static_cast<std::size_t>(bytes)};
    tensors.push_back(std::move(tensor));
  };
  for (const auto& [name, store, role] : detail::named_stores(packed.net())) {
    const simd::PackedView view = store->view();
    add(detail::panel_tensor(name, *store, store->storage()), view.data, store->bytes());
    if (store->storage() != Storage::int8) continue;
    const Index columns = store->padded_cols();
    add({name + ".scales", "F32", {columns}, {}}, view.scales, columns * 4);
    add({name + ".offsets", "I32", {columns}, {}}, view.offsets, columns * 4);
  }
  std::vector<std::vector<float>> values;
  for (const ConstParameter& parameter : detail::plain_parameters(packed.net())) {
    values.push_back(parameter.values());
    add({parameter.name, "F32", parameter.shape, {}}, values.back().data(), std::ssize(values.back()) * 4);
  }
  auto metadata = to_metadata({packed.description(), packed.preprocessing(), packed.class_names()});
  metadata["moevit.layout"] = packed_layout;
  write_safetensors(path, std::move(tensors), metadata);
}

/// A packed model whose matrices stay in the file, which is mapped: it must not be changed or cut short while the model
/// is in use. Policy must ask for the formats that the file has (a file of Bf16 also serves Bf16Weights). Throws Error
/// when the file is not sound, not one of save(packed), or of another model.
template <class Net, StoragePolicy Policy>
Packed<Net, Policy> load_packed(const std::filesystem::path& path) {
  const TensorFile file = read_safetensors(path);
  const auto metadata = read_metadata(file);
  const auto layout = file.metadata().find("moevit.layout");
  if (!metadata || layout == file.metadata().end())
    fail(path.string(),
         ": expected a packed model as save(packed, path) writes it, found other tensors; load() reads them");
  if (layout->second != packed_layout)
    fail(path.string(), ": layout of packed weights: expected ", packed_layout, ", found '", layout->second, "'");
  Packed<Net, Policy> packed{Unpacked{}};
  detail::check_configuration(packed.description(), metadata->description, file, {});
  const std::vector<std::string> mapped = detail::map_stores<Policy>(file, packed.net());
  load_parameters(detail::plain_parameters(packed.net()), packed.description(), file,
                  {.naming = Naming::own, .ignore = mapped});
  packed.net().set_preprocessing(metadata->preprocessing);
  packed.net().set_class_names(metadata->class_names);
  return packed;
}

}  // namespace moevit
