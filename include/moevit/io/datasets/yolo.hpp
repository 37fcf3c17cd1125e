/// Annotations as YOLO has them: one text file per image, boxes in shares of the image's size. Component `image`.
#pragma once

#include <moevit/io/datasets/detection.hpp>
#include <moevit/io/image_size.hpp>
#include <moevit/io/text_lines.hpp>

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

struct YoloOptions {
  ImageLimits limits = {};
  Index max_file_bytes = Index{16} << 20;  ///< of an annotation
};

namespace detail {

/// class, x and y of the centre, width, height.
inline TrueBox read_yolo_line(const TextLines& lines, Index classes, const ImageSize& size) {
  const auto fields = lines.fields();
  if (fields.size() != 5) fail(lines.where(), ": expected a class and four numbers, found ", fields.size(), " fields");
  const auto category = parse_number<std::int32_t>(fields[0]);
  if (!category || *category < 0 || *category >= classes)
    fail(lines.where(), ": expected a class from 0 to ", classes - 1, ", found '", fields[0], "'");
  double values[4];
  for (std::size_t i = 0; i < 4; ++i) {
    const auto value = parse_number<double>(fields[i + 1]);
    if (!value) fail(lines.where(), ": expected a number, found '", fields[i + 1], "'");
    values[i] = *value;
  }
  const auto [x, y, width, height] = values;
  const auto columns = static_cast<double>(size.width), rows = static_cast<double>(size.height);
  const Box box{(x - width / 2) * columns, (y - height / 2) * rows, width * columns, height * rows};
  return {box, *category, box.area(), false};
}

}  // namespace detail

/// All images of a folder, sorted by name, with the boxes of the files of the same names (.txt) in `labels`. An image
/// without such a file has no objects. `class_names`: as of read_names on a file with one name per line.
/// Throws Error, naming file and line: for lines that are not five numbers and classes without a name; naming the file:
/// when it belongs to no image (but for classes.txt), when an image cannot be read, and when there is none.
inline DetectionAnnotations read_yolo(const std::filesystem::path& images, const std::filesystem::path& labels,
                                      std::vector<std::string> class_names, const YoloOptions& options = {}) {
  if (class_names.empty()) fail(images.string(), ": expected the names of the classes, found none");
  const Index classes = std::ssize(class_names);
  detail::AnnotationBuilder builder(std::move(class_names));
  std::set<std::string> names{"classes.txt"};
  for (const auto& image : sorted_entries(images)) {
    if (!is_image_name(image)) continue;
    const std::string name = image.stem().string() + ".txt";
    if (!names.insert(name).second) fail(image.string(), ": another image has the same annotation ", name);
    const ImageSize size = image_size(image, options.limits);
    builder.begin_image(image, size.height, size.width, image.string());
    if (!std::filesystem::exists(labels / name)) continue;
    for (TextLines lines(labels / name, options.max_file_bytes); lines.next();)
      builder.add(detail::read_yolo_line(lines, classes, size), [&] { return lines.where(); });
  }
  if (names.size() == 1) fail(images.string(), ": no image in it");
  for (const auto& entry : sorted_entries(labels))
    if (entry.extension() == ".txt" && !names.contains(entry.filename().string()))
      fail(entry.string(), ": is the annotation of no image in ", images.string());
  return std::move(builder).finish();
}

}  // namespace moevit
