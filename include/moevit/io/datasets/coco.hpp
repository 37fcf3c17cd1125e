/// Annotations of COCO: one JSON file of instances for a folder of images. Components `io` and `image`.
#pragma once

#include <moevit/io/datasets/coco_json.hpp>
#include <moevit/io/datasets/detection.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

struct CocoOptions {
  Index max_file_bytes = Index{4} << 30;  ///< of the JSON file, which is mapped; what is kept of it is smaller
};

namespace detail {

inline CocoHandler parse_coco(const BoundedFile& file) {
  CocoHandler handler;
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  if (!parse_json(text, handler)) fail(file.name(), ": ", handler.problem());
  handler.check_complete(file.name());
  return handler;
}

/// Sorts records by their numbers in the file. Throws Error when one comes twice.
template <class Record>
void sort_by_id(std::vector<Record>& records, const char* what, std::string_view where) {
  const auto before = [](const Record& a, const Record& b) { return a.id < b.id; };
  std::sort(records.begin(), records.end(), before);
  const auto twice =
      std::adjacent_find(records.begin(), records.end(), [](const Record& a, const Record& b) { return a.id == b.id; });
  if (twice != records.end()) fail(where, ": ", what, " ", twice->id, " comes twice");
}

/// The place of the record with this number in sorted records. Throws Error, naming where(), when there is none.
template <class Record, class Where>
std::size_t find_id(const std::vector<Record>& records, std::int64_t id, const char* what, Where where) {
  const auto found = std::lower_bound(records.begin(), records.end(), id,
                                      [](const Record& record, std::int64_t wanted) { return record.id < wanted; });
  if (found == records.end() || found->id != id) fail(where(), ": there is no ", what, " ", id);
  return static_cast<std::size_t>(found - records.begin());
}

inline std::filesystem::path coco_image_path(const std::filesystem::path& folder, const CocoImage& image,
                                             std::string_view where) {
  const std::filesystem::path name(image.file_name);
  if (name.empty() || name.is_absolute() || std::find(name.begin(), name.end(), "..") != name.end())
    fail(where, ": image ", image.id, ": expected the name of a file below the folder of images, found '",
         image.file_name, "'");
  return folder / name;
}

}  // namespace detail

/// The images that the file lists, by rising number, with their objects in the order of the file. Categories, whose
/// numbers may have gaps, become 0, 1, ... by rising number; areas are those of the file, or of the boxes where it has
/// none. Throws Error, naming the file and the record: when it is no JSON, lacks a list or a field, has a value of
/// another kind, a number twice, or one that is in no list; and when an image is absent. No pixels are read.
inline DetectionAnnotations read_coco(const std::filesystem::path& json, const std::filesystem::path& images,
                                      const CocoOptions& options = {}) {
  const BoundedFile file(json, options.max_file_bytes);
  detail::CocoHandler found = detail::parse_coco(file);
  detail::sort_by_id(found.images, "image", file.name());
  detail::sort_by_id(found.categories, "category", file.name());
  std::vector<std::string> names;
  for (const detail::CocoCategory& category : found.categories) names.push_back(category.name);

  std::vector<std::vector<Index>> of_image(found.images.size());
  for (std::size_t i = 0; i < found.annotations.size(); ++i) {
    detail::CocoAnnotation& annotation = found.annotations[i];
    const auto where = [&] { return message_of(file.name(), ": annotations[", i, "]"); };
    of_image[detail::find_id(found.images, annotation.image_id, "image", where)].push_back(static_cast<Index>(i));
    annotation.object.category =
        static_cast<std::int32_t>(detail::find_id(found.categories, annotation.category_id, "category", where));
  }
  detail::AnnotationBuilder builder(std::move(names));
  for (std::size_t i = 0; i < found.images.size(); ++i) {
    const detail::CocoImage& image = found.images[i];
    builder.begin_image(detail::coco_image_path(images, image, file.name()), image.height, image.width,
                        message_of(file.name(), ": image ", image.id));
    for (const Index number : of_image[i])
      builder.add(found.annotations[static_cast<std::size_t>(number)].object,
                  [&] { return message_of(file.name(), ": annotations[", number, "]"); });
  }
  return std::move(builder).finish();
}

}  // namespace moevit
