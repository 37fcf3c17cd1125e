/// Parses small flat JSON texts without a JSON tree, whose destructor may allocate and so end the program when memory
/// is short.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/json.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace moevit::detail {

/// One value. A plain struct, for a variant of strings takes long to compile.
struct JsonScalar {
  enum class Kind : unsigned char { boolean, integer, real, text };

  Kind kind = Kind::boolean;
  bool boolean = false;
  std::int64_t integer = 0;
  double real = 0.;
  std::string text = {};
};
using JsonValues = std::vector<JsonScalar>;
/// Fields of an object; a scalar is a list of one. An array that is the whole text is the field with the empty name.
using FlatJson = std::map<std::string, JsonValues, std::less<>>;

/// Accepts an object of scalars and arrays of scalars, or one array of scalars.
class FlatJsonHandler : public JsonEvents {
 public:
  FlatJson& fields() { return fields_; }
  const std::string& problem() const { return problem_; }

  bool null() override { return stop("null is not accepted"); }
  bool binary(binary_t&) override { return stop("binary data is not accepted"); }
  bool boolean(bool value) override { return add({.kind = JsonScalar::Kind::boolean, .boolean = value}); }
  bool number_integer(number_integer_t value) override {
    return add({.kind = JsonScalar::Kind::integer, .integer = value});
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return stop("number too large");
    return number_integer(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override {
    return add({.kind = JsonScalar::Kind::real, .real = value});
  }
  bool string(string_t& value) override { return add({.kind = JsonScalar::Kind::text, .text = std::move(value)}); }

  bool start_object(std::size_t) override {
    if (depth_++ > 0) return stop("objects inside are not accepted");
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (in_array_) return stop("arrays inside arrays are not accepted");
    if (depth_++ == 0) fields_[""];
    in_array_ = true;
    return true;
  }
  bool end_array() override {
    --depth_;
    in_array_ = false;
    return true;
  }
  bool key(string_t& name) override {
    key_ = std::move(name);
    if (!fields_.try_emplace(key_).second) return stop("a field occurs twice");
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    return stop("not valid JSON at byte " + std::to_string(position) + ": " + error.what());
  }

 private:
  bool add(JsonScalar value) {
    if (depth_ == 0) return stop("expected an object or an array");
    fields_[key_].push_back(std::move(value));
    return true;
  }
  bool stop(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  FlatJson fields_;
  std::string key_, problem_;
  int depth_ = 0;
  bool in_array_ = false;
};

/// Throws Error that says what is wrong, without naming the place.
inline FlatJson parse_flat_json(const std::string& text) {
  FlatJsonHandler handler;
  if (!parse_json(text, handler)) fail(handler.problem());
  return std::move(handler.fields());
}

}  // namespace moevit::detail
