/// Parses the JSON header of a safetensors file strictly and without building a JSON tree.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/json.hpp>
#include <moevit/io/tensor_file.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

/// Limits on what a header may ask for; the defaults admit every real model.
struct SafetensorsLimits {
  std::uint64_t header_bytes = 100'000'000;  // the limit of the reference implementation
  std::size_t tensors = 100'000;             // bounds the memory of the index, whatever the header says
  std::size_t metadata_entries = 100'000;
  std::size_t rank = 8;
  std::size_t name_bytes = 1024;
};

namespace detail {

/// An entry of the header: the tensor and its range in the data buffer.
struct HeaderEntry {
  StoredTensor tensor;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Receives the events of nlohmann's parser. Returning false stops it; `problem()` then says why.
/// Levels: 1 the header, 2 a tensor or the metadata, and inside a tensor the arrays shape and data_offsets.
class SafetensorsHeaderHandler : public JsonEvents {
 public:
  explicit SafetensorsHeaderHandler(const SafetensorsLimits& limits) : limits_(limits) {}

  std::vector<HeaderEntry>& entries() { return entries_; }
  TensorFile::Metadata& metadata() { return metadata_; }
  const std::string& problem() const { return problem_; }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return unexpected("a number that is no unsigned integer");
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) return unexpected("a number");
    if (value > static_cast<std::uint64_t>(std::numeric_limits<Index>::max())) return stop("number too large");
    if (numbers_.size() == (field_ == shape_field ? limits_.rank : 2))
      return stop(field_ == shape_field ? "rank above the limit" : "data_offsets has more than two numbers");
    numbers_.push_back(static_cast<Index>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      if (metadata_.size() == limits_.metadata_entries) return stop("more metadata entries than allowed");
      if (!metadata_.emplace(std::move(metadata_key_), std::move(value)).second)
        return stop("a metadata key occurs twice");
      return true;
    }
    if (place_ != Place::tensor || in_array_ || field_ != type_field) return unexpected("a string");
    entries_.back().tensor.type = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::outside)
      place_ = Place::header;
    else if (place_ == Place::header)
      place_ = next_is_metadata_ ? Place::metadata : Place::tensor;
    else
      return unexpected("an object");
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor && fields_seen_ != (type_field | shape_field | offsets_field))
      return stop("dtype, shape or data_offsets is missing");
    place_ = place_ == Place::header ? Place::outside : Place::header;
    return true;
  }

  bool key(string_t& name) override {
    if (place_ == Place::header) return start_entry(name);
    if (name.size() > limits_.name_bytes || name.find('\0') != std::string::npos) return stop("unacceptable key");
    if (place_ == Place::tensor) return start_field(name);
    metadata_key_ = std::move(name);
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || in_array_ || field_ == type_field) return unexpected("an array");
    in_array_ = true;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    in_array_ = false;
    HeaderEntry& entry = entries_.back();
    if (field_ == shape_field) {
      entry.tensor.shape.assign(numbers_.begin(), numbers_.end());
      return true;
    }
    if (numbers_.size() != 2) return stop("data_offsets must be two numbers");
    entry.begin = static_cast<std::uint64_t>(numbers_[0]);
    entry.end = static_cast<std::uint64_t>(numbers_[1]);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    problem_ = "not valid JSON at byte " + std::to_string(position) + ": " + error.what();
    return false;
  }

 private:
  enum class Place { outside, header, tensor, metadata };
  static constexpr unsigned type_field = 1, shape_field = 2, offsets_field = 4;

  bool start_entry(std::string& name) {
    next_is_metadata_ = name == "__metadata__";
    if (next_is_metadata_) {
      if (std::exchange(metadata_seen_, true)) return stop("__metadata__ occurs twice");
      return true;
    }
    if (name.size() > limits_.name_bytes || name.find('\0') != std::string::npos)
      return stop("a tensor name is longer than " + std::to_string(limits_.name_bytes) + " bytes or has a zero byte");
    if (entries_.size() == limits_.tensors) return stop("more tensors than allowed");
    entries_.emplace_back().tensor.name = std::move(name);
    fields_seen_ = 0;
    return true;
  }

  bool start_field(const std::string& name) {
    field_ = name == "dtype" ? type_field : name == "shape" ? shape_field : name == "data_offsets" ? offsets_field : 0u;
    if (field_ == 0) return stop("unknown field '" + name + "'");
    if (fields_seen_ & field_) return stop("field '" + name + "' occurs twice");
    fields_seen_ |= field_;
    return true;
  }

  bool unexpected(const char* what) { return stop(std::string("unexpected ") + what); }
  bool stop(std::string what) {
    problem_ = std::move(what);
    if (place_ == Place::tensor) problem_ = "tensor '" + entries_.back().tensor.name + "': " + problem_;
    if (place_ == Place::metadata) problem_ = "__metadata__: " + problem_;
    return false;
  }

  const SafetensorsLimits& limits_;
  std::vector<HeaderEntry> entries_;
  TensorFile::Metadata metadata_;
  std::string problem_, metadata_key_;
  std::vector<Index> numbers_;
  Place place_ = Place::outside;
  unsigned field_ = 0, fields_seen_ = 0;
  bool in_array_ = false, next_is_metadata_ = false, metadata_seen_ = false;
};

}  // namespace detail
}  // namespace moevit
