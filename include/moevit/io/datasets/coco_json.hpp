/// Reads the three lists of a COCO file of instances, without a JSON tree.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/json.hpp>
#include <moevit/models/boxes.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit::detail {

/// Texts are empty and numbers 0 where a record has none; `seen` says which it has.
struct CocoRecord {
  std::int64_t id = 0, image_id = 0, category_id = 0, height = 0, width = 0, iscrowd = 0;
  double area = 0;
  std::string file_name, name;
  std::vector<double> bbox;
  unsigned seen = 0;  ///< bits by CocoField
};

enum class CocoField : unsigned char {
  id,
  image_id,
  category_id,
  height,
  width,
  iscrowd,
  area,
  file_name,
  name,
  bbox,
  other
};

/// An object of an image, both by their numbers in the file.
struct CocoAnnotation {
  std::int64_t image_id = 0, category_id = 0;
  TrueBox object;
};
struct CocoImage {
  std::int64_t id = 0;
  std::int64_t height = 0, width = 0;
  std::string file_name;
};
struct CocoCategory {
  std::int64_t id = 0;
  std::string name;
};

/// Receives the events of the parser. Everything but the fields above is passed over. Returning false stops it;
/// problem() then says why. Levels: 1 the file, 2 a list, 3 a record, 4 and deeper what is in it.
class CocoHandler : public JsonEvents {
 public:
  std::vector<CocoImage> images;
  std::vector<CocoAnnotation> annotations;
  std::vector<CocoCategory> categories;

  const std::string& problem() const { return problem_; }
  /// Throws Error unless the file had all three lists.
  void check_complete(std::string_view where) const {
    for (std::size_t i = 0; i < sections.size(); ++i)
      if (!(sections_seen_ & 1u << i)) fail(where, ": expected a list '", sections[i], "' in an object, found none");
  }

  bool null() override { return other("null"); }
  bool binary(binary_t&) override { return other("binary data"); }
  bool boolean(bool value) override {
    return field_ == CocoField::iscrowd && level_ == 3 ? number_integer(value ? 1 : 0) : other("a boolean");
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return stop("number too large");
    return number_integer(static_cast<std::int64_t>(value));
  }
  bool number_integer(number_integer_t value) override {
    if (std::int64_t* place = in_record() ? integer_place() : nullptr) return *place = value, true;
    return real(static_cast<double>(value), "a whole number");
  }
  bool number_float(number_float_t value, const string_t&) override { return real(value, "a fraction"); }
  bool string(string_t& value) override {
    if (!in_record()) return other("a text");
    if (field_ == CocoField::file_name) return record_.file_name = std::move(value), true;
    if (field_ == CocoField::name) return record_.name = std::move(value), true;
    return other("a text");
  }

  bool start_object(std::size_t) override {
    if (level_ >= 1 && !(level_ == 2 && in_list_) && !other("an object")) return false;
    if (++level_ > most_levels) return stop("nested too deep");
    if (level_ == 3) record_ = {};
    return true;
  }
  bool end_object() override {
    const bool is_record = level_-- == 3 && in_list_;
    return !is_record || finish_record();
  }
  bool start_array(std::size_t) override {
    if (level_ == 0) return stop("expected an object, found an array");
    if (level_ == 2 && in_list_) return stop(place() + ": expected an object, found an array");
    if (level_ >= 3 && !(level_ == 3 && field_ == CocoField::bbox) && !other("an array")) return false;
    if (++level_ > most_levels) return stop("nested too deep");
    if (level_ == 2) in_list_ = section_ < sections.size(), number_ = 0;
    return true;
  }
  bool end_array() override {
    if (level_-- == 2) in_list_ = false;
    return true;
  }

  bool key(string_t& name) override {
    if (level_ == 1) return start_section(name);
    if (level_ != 3 || !in_list_) return true;
    field_ = CocoField::other;
    for (std::size_t i = 0; i < wanted[section_].size(); ++i)
      if (const CocoField field = wanted[section_][i]; field_names[static_cast<std::size_t>(field)] == name)
        field_ = field;
    if (field_ == CocoField::other) return true;
    const unsigned bit = 1u << static_cast<unsigned>(field_);
    if (record_.seen & bit) return stop(place() + ": field '" + name + "' occurs twice");
    record_.seen |= bit;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    return stop("not valid JSON at byte " + std::to_string(position) + ": " + error.what());
  }

 private:
  using Fields = std::vector<CocoField>;
  static constexpr int most_levels = 64;
  static constexpr std::array<std::string_view, 3> sections{"images", "annotations", "categories"};
  static constexpr std::array<std::string_view, 10> field_names{"id",      "image_id", "category_id", "height", "width",
                                                                "iscrowd", "area",     "file_name",   "name",   "bbox"};
  static inline const std::array<Fields, 3> wanted{
      Fields{CocoField::id, CocoField::height, CocoField::width, CocoField::file_name},
      Fields{CocoField::image_id, CocoField::category_id, CocoField::bbox, CocoField::area, CocoField::iscrowd},
      Fields{CocoField::id, CocoField::name}};

  bool in_record() const { return level_ == 3 && in_list_ && field_ != CocoField::other; }
  std::string place() const { return std::string(sections[section_]) + "[" + std::to_string(number_) + "]"; }

  /// Where the field's value goes when it is a whole number; they are the first ones.
  std::int64_t* integer_place() {
    static constexpr std::int64_t CocoRecord::*places[] = {&CocoRecord::id,          &CocoRecord::image_id,
                                                           &CocoRecord::category_id, &CocoRecord::height,
                                                           &CocoRecord::width,       &CocoRecord::iscrowd};
    const auto field = static_cast<std::size_t>(field_);
    return field < std::size(places) ? &(record_.*places[field]) : nullptr;
  }
  bool real(double value, const char* what) {
    if (level_ == 4 && in_list_ && field_ == CocoField::bbox) {
      if (record_.bbox.size() == 4) return stop(place() + ": 'bbox' has more than 4 numbers");
      return record_.bbox.push_back(value), true;
    }
    if (in_record() && field_ == CocoField::area) return record_.area = value, true;
    return other(what);
  }
  /// A value that no field takes: passed over where none of them is meant.
  bool other(const char* what) {
    if (level_ == 0) return stop(std::string("expected an object, found ") + what);
    if (level_ == 1 && section_ < sections.size())
      return stop("'" + std::string(sections[section_]) + "': expected a list, found " + what);
    if (level_ == 2 && in_list_) return stop(place() + ": expected an object, found " + what);
    const bool is_meant = in_record() || (in_list_ && level_ == 4 && field_ == CocoField::bbox);
    if (!is_meant) return true;
    return stop(place() + ": '" + std::string(field_names[static_cast<std::size_t>(field_)]) + "' cannot be " + what);
  }
  bool stop(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  bool start_section(const std::string& name) {
    section_ = 0;
    while (section_ < sections.size() && sections[section_] != name) ++section_;
    if (section_ == sections.size()) return true;
    if (sections_seen_ & 1u << section_) return stop("'" + name + "' occurs twice");
    sections_seen_ |= 1u << section_;
    return true;
  }

  bool finish_record() {
    for (const CocoField field : wanted[section_]) {
      const bool may_be_absent = field == CocoField::area || field == CocoField::iscrowd;
      if (!may_be_absent && !has(field))
        return stop(place() + ": has no field '" + std::string(field_names[static_cast<std::size_t>(field)]) + "'");
    }
    if (section_ == 0) images.push_back({record_.id, record_.height, record_.width, std::move(record_.file_name)});
    if (section_ == 1 && !finish_annotation()) return false;
    if (section_ == 2) categories.push_back({record_.id, std::move(record_.name)});
    ++number_;
    field_ = CocoField::other;
    return true;
  }
  bool finish_annotation() {
    if (record_.bbox.size() != 4) return stop(place() + ": 'bbox' has less than 4 numbers");
    const Box box{record_.bbox[0], record_.bbox[1], record_.bbox[2], record_.bbox[3]};
    const double area = has(CocoField::area) ? record_.area : box.area();
    annotations.push_back({record_.image_id, record_.category_id, {box, 0, area, record_.iscrowd != 0}});
    return true;
  }
  bool has(CocoField field) const { return (record_.seen & 1u << static_cast<unsigned>(field)) != 0; }

  CocoRecord record_;
  std::string problem_;
  std::size_t section_ = sections.size();
  Index number_ = 0;  // of the record in its list
  int level_ = 0;
  unsigned sections_seen_ = 0;
  CocoField field_ = CocoField::other;
  bool in_list_ = false;  // of one of the sections
};

}  // namespace moevit::detail
