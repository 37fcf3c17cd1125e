/// Sets of images with a map of numbered objects for each: images/, instances/, and tables of splits and boxes.
/// Component `image`.
#pragma once

#include <moevit/io/datasets/detection.hpp>
#include <moevit/io/png_numbers.hpp>
#include <moevit/io/text_lines.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

/// An object of an instance map: its number, and the smallest box around its pixels.
struct Instance {
  Index number = 0;
  TrueBox object;  ///< of category 0; the area counts its pixels
};

/// The objects of a map, whose pixels are 0 for the background, else the number of an object; by number. The pixels of
/// one need not hang together.
inline std::vector<Instance> instances_of(const NumberMap& map) {
  struct Extent {
    Index top, bottom, left, right, pixels;
  };
  std::map<std::uint16_t, Extent> extents;
  for (Index y = 0; y < map.height; ++y)
    for (Index x = 0; x < map.width; ++x) {
      if (map(y, x) == 0) continue;
      Extent& extent = extents.try_emplace(map(y, x), Extent{y, y, x, x, 0}).first->second;
      extent.bottom = y;
      extent.left = std::min(extent.left, x), extent.right = std::max(extent.right, x);
      ++extent.pixels;
    }
  std::vector<Instance> instances;
  for (const auto& [number, extent] : extents) {
    const Box box{static_cast<double>(extent.left), static_cast<double>(extent.top),
                  static_cast<double>(extent.right - extent.left + 1),
                  static_cast<double>(extent.bottom - extent.top + 1)};
    instances.push_back({number, {box, 0, static_cast<double>(extent.pixels), false}});
  }
  return instances;
}

/// Class numbers of the pixels: 0 for the background, 1 for every object.
inline Image foreground_of(const NumberMap& map) {
  Image mask(map.height, map.width, 1);
  std::transform(map.values.begin(), map.values.end(), mask.row(0),
                 [](std::uint16_t number) { return static_cast<std::uint8_t>(number == 0 ? 0 : 1); });
  return mask;
}

namespace detail {

/// A text file of fields between tabs, whose first line names the columns.
class TabTable {
 public:
  /// Throws Error unless the first line has all of these columns, in whatever order.
  TabTable(const std::filesystem::path& path, std::vector<std::string> columns)
      : lines_(path), columns_(std::move(columns)) {
    if (!lines_.next()) fail(path.string(), ": has no line with the names of its columns");
    const auto names = lines_.fields('\t');
    for (const std::string& column : columns_) {
      const auto found = std::find(names.begin(), names.end(), column);
      if (found == names.end()) fail(lines_.where(), ": has no column '", column, "'");
      places_.push_back(static_cast<std::size_t>(found - names.begin()));
    }
    width_ = names.size();
  }

  /// Goes on to the next line; false at the end. Throws Error when it has more or less fields than the first.
  bool next() {
    if (!lines_.next()) return false;
    fields_ = lines_.fields('\t');
    if (fields_.size() != width_) fail(where(), ": expected ", width_, " fields, found ", fields_.size());
    return true;
  }

  /// Of the column that was named at this place.
  std::string text(std::size_t column) const { return std::string(fields_[places_[column]]); }
  Index number(std::size_t column) const {
    const auto value = parse_number<Index>(fields_[places_[column]]);
    if (!value) fail(where(), ": ", columns_[column], ": expected a whole number, found '", text(column), "'");
    return *value;
  }
  std::string where() const { return lines_.where(); }

 private:
  TextLines lines_;
  std::vector<std::string> columns_;
  std::vector<std::size_t> places_;
  std::vector<std::string_view> fields_;
  std::size_t width_ = 0;
};

}  // namespace detail

/// An image of a set with instance maps.
struct InstanceImage {
  std::string name;
  std::filesystem::path image;
  std::filesystem::path map;  ///< of the same size
  Index height = 0;
  Index width = 0;
  Index objects = 0;
};

/// The images of a split in the order of <root>/split.tsv (columns name, split, width, height, instances):
/// <root>/images/<name> with the ending of an image, <root>/instances/<name>.png. Throws Error, naming file and line:
/// for absent files and columns, fields that are no numbers, a name that comes twice, and when no line has the split.
inline std::vector<InstanceImage> list_instance_images(const std::filesystem::path& root, const std::string& split) {
  detail::TabTable table(root / "split.tsv", {"name", "split", "width", "height", "instances"});
  std::vector<InstanceImage> images;
  std::set<std::string> names;
  while (table.next()) {
    if (table.text(1) != split) continue;
    const std::string name = table.text(0);
    if (!names.insert(name).second) fail(table.where(), ": image '", name, "' comes twice");
    const auto image = detail::find_image(root / "images", name, table.where());
    const auto map = root / "instances" / (name + ".png");
    if (!std::filesystem::exists(map)) fail(table.where(), ": its map ", map.string(), " does not exist");
    images.push_back({name, image, map, table.number(3), table.number(2), table.number(4)});
  }
  if (images.empty()) fail((root / "split.tsv").string(), ": has no image of split '", split, "'");
  return images;
}

/// The same images with their boxes from <root>/boxes.tsv (columns name, x0, y0, x1, y1, area; x1 and y1 are not in the
/// box), all of one class. Throws Error as list_instance_images, and when an image has another number of boxes
/// than split.tsv says.
inline DetectionAnnotations read_box_table(const std::filesystem::path& root, const std::string& split,
                                           const std::string& class_name) {
  struct Row {
    TrueBox object;
    std::string where;
  };
  std::map<std::string, std::vector<Row>> rows;
  for (detail::TabTable table(root / "boxes.tsv", {"name", "x0", "y0", "x1", "y1", "area"}); table.next();) {
    const auto left = static_cast<double>(table.number(1)), top = static_cast<double>(table.number(2));
    const Box box{left, top, static_cast<double>(table.number(3)) - left, static_cast<double>(table.number(4)) - top};
    rows[table.text(0)].push_back({{box, 0, static_cast<double>(table.number(5)), false}, table.where()});
  }
  detail::AnnotationBuilder builder({class_name});
  for (const InstanceImage& image : list_instance_images(root, split)) {
    const auto& own = rows[image.name];
    if (std::ssize(own) != image.objects)
      fail((root / "boxes.tsv").string(), ": image '", image.name, "': expected ", image.objects,
           " boxes, as split.tsv says, found ", own.size());
    builder.begin_image(image.image, image.height, image.width, (root / "split.tsv").string());
    for (const Row& row : own) builder.add(row.object, [&] { return row.where; });
  }
  return std::move(builder).finish();
}

}  // namespace moevit
