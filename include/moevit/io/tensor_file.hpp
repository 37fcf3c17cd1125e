/// The named tensors of a file, whatever its format.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/tensor.hpp>
#include <moevit/io/data_type.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

/// One tensor as stored: little-endian, row-major, without alignment.
struct StoredTensor {
  std::string name;
  std::string type;  // "F32", "BF16", "I64", ...: see data_type.hpp
  Shape shape;
  std::span<const std::byte> bytes;

  Index size() const { return element_count(shape); }
};

/// Tensors sorted by name, the text metadata beside them, and the memory both lie in.
class TensorFile {
 public:
  using Metadata = std::map<std::string, std::string, std::less<>>;

  TensorFile() = default;
  /// `storage` keeps alive what the tensors point into. Throws Error when two tensors have the same name.
  TensorFile(std::filesystem::path path, std::shared_ptr<const void> storage, std::vector<StoredTensor> tensors,
             Metadata metadata = {})
      : path_(std::move(path)),
        storage_(std::move(storage)),
        tensors_(std::move(tensors)),
        metadata_(std::move(metadata)) {
    sort_by_name();
    const auto twice = std::adjacent_find(tensors_.begin(), tensors_.end(),
                                          [](const auto& a, const auto& b) { return a.name == b.name; });
    if (twice != tensors_.end()) fail(path_.string(), ": two tensors are called '", twice->name, "'");
  }

  const std::filesystem::path& path() const { return path_; }
  /// Keeps alive what the tensors point into.
  const std::shared_ptr<const void>& storage() const { return storage_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const Metadata& metadata() const { return metadata_; }

  /// The tensor of that name, or null.
  const StoredTensor* find(std::string_view name) const {
    const auto found =
        std::lower_bound(tensors_.begin(), tensors_.end(), name,
                         [](const StoredTensor& tensor, std::string_view key) { return tensor.name < key; });
    return found != tensors_.end() && found->name == name ? &*found : nullptr;
  }

  /// The tensor of that name. Throws Error when there is none or its type is unknown.
  const StoredTensor& at(std::string_view name) const {
    const StoredTensor* tensor = find(name);
    if (!tensor) fail(path_.string(), ": there is no tensor '", name, "'");
    if (data_type_bits(tensor->type) == 0)
      fail(path_.string(), ": tensor '", name, "': unknown element type '", tensor->type, "'");
    return *tensor;
  }

  /// Values widened to float in row-major order: F32, F16 and BF16 exactly, F64 rounded to nearest. Throws Error
  /// for other types.
  std::vector<float> floats(std::string_view name) const {
    const StoredTensor& tensor = at(name);
    std::vector<float> values(static_cast<std::size_t>(tensor.size()));
    if (!read_floats(tensor.type, tensor.bytes.data(), 0, 1, values)) wrong_type(tensor, "F32, F16, BF16 or F64");
    return values;
  }

  /// Integers of any stored width and BOOL. Throws Error for other types and for values that T cannot hold.
  template <class T = std::int32_t>
  std::vector<T> integers(std::string_view name) const {
    const StoredTensor& tensor = at(name);
    std::vector<T> values(static_cast<std::size_t>(tensor.size()));
    const bool readable = with_integer_reader(tensor.type, tensor.bytes.data(), [&](auto read) {
      for (Index i = 0; i < std::ssize(values); ++i) {
        const auto value = read(i);
        if (!std::in_range<T>(value))
          fail(path_.string(), ": tensor '", name, "': value ", +value, " at ", i, " does not fit");
        values[static_cast<std::size_t>(i)] = static_cast<T>(value);
      }
    });
    if (!readable) wrong_type(tensor, "an integer type");
    return values;
  }

 private:
  /// Sorts pointers, as the code that sorts tensors takes long to compile.
  void sort_by_name() {
    std::vector<StoredTensor*> order;
    order.reserve(tensors_.size());
    for (StoredTensor& tensor : tensors_) order.push_back(&tensor);
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
    std::vector<StoredTensor> sorted;
    sorted.reserve(order.size());
    for (StoredTensor* tensor : order) sorted.push_back(std::move(*tensor));
    tensors_ = std::move(sorted);
  }

  [[noreturn]] void wrong_type(const StoredTensor& tensor, const char* expected) const {
    fail(path_.string(), ": tensor '", tensor.name, "': expected ", expected, ", found ", tensor.type);
  }

  std::filesystem::path path_;
  std::shared_ptr<const void> storage_;
  std::vector<StoredTensor> tensors_;
  Metadata metadata_;
};

}  // namespace moevit
