/// Annotations of PASCAL VOC: one XML file per image, lists of names per split. Component `voc` (pugixml).
#pragma once

#include <moevit/io/datasets/detection.hpp>
#include <moevit/io/text_lines.hpp>

#include <pugixml.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

/// What the corners of a box mean.
enum class VocCorners : unsigned char {
  edges,  ///< the left upper corner of pixel (0, 0) is 0, 0; the width is xmax - xmin: what labelImg writes
  pixels  ///< the first and last pixel of the box, counted from 1: VOC's own files
};

struct VocOptions {
  std::string split = "train";
  VocCorners corners = VocCorners::edges;
  /// By category. Empty: all names in the annotations of all splits, sorted, so that every split has the same ones.
  std::vector<std::string> class_names = {};
  Index max_file_bytes = Index{4} << 20;  ///< of an annotation; the tree of its elements takes up to 20 times as much
};

namespace detail {

/// One annotation file. Its errors name file and line.
class VocFile {
 public:
  VocFile(const std::filesystem::path& path, Index max_bytes) : file_(path, max_bytes) {
    // Entities cannot be had without a document type, which is refused; nothing is looked up outside of the file.
    const auto result = document_.load_buffer(file_.bytes().data(), file_.bytes().size(),
                                              pugi::parse_default | pugi::parse_doctype, pugi::encoding_utf8);
    if (!result) fail(where(result.offset), ": not XML: ", result.description());
    for (const pugi::xml_node node : document_.children())
      if (node.type() == pugi::node_doctype) fail(where(node), ": a document type is not accepted");
    root_ = document_.child("annotation");
    if (!root_) fail(file_.name(), ": expected an element <annotation>");
  }

  pugi::xml_node root() const { return root_; }
  std::string where(pugi::xml_node node) const { return where(node.offset_debug()); }

  /// The only element of this name in `parent`.
  pugi::xml_node element(pugi::xml_node parent, const char* name) const {
    const pugi::xml_node found = parent.child(name);
    if (!found) fail(where(parent), ": <", parent.name(), ">: expected an element <", name, ">");
    if (found.next_sibling(name)) fail(where(parent), ": <", parent.name(), ">: more than one <", name, ">");
    return found;
  }

  std::string text(pugi::xml_node parent, const char* name) const {
    const pugi::xml_node found = element(parent, name);
    const std::string_view value = found.child_value();
    if (value.empty()) fail(where(found), ": <", name, "> is empty");
    // pugixml leaves entities that it does not know as they are.
    if (const std::size_t begin = value.find('&'); begin != value.npos && value.find(';', begin) != value.npos)
      fail(where(found), ": <", name, ">: unknown entity in '", value, "'");
    return std::string(value);
  }

  template <class Number>
  Number number(pugi::xml_node parent, const char* name) const {
    const std::string value = text(parent, name);
    const auto parsed = parse_number<Number>(value);
    if (!parsed) fail(where(parent), ": <", name, ">: expected a number, found '", value, "'");
    return *parsed;
  }

 private:
  std::string where(std::ptrdiff_t offset) const {
    const auto bytes =
        file_.bytes().first(static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(offset, 0, std::ssize(file_.bytes()))));
    return file_.name() + ": line " + std::to_string(1 + std::count(bytes.begin(), bytes.end(), '\n'));
  }

  BoundedFile file_;
  pugi::xml_document document_;
  pugi::xml_node root_;
};

/// Reads the annotations of a split.
class VocReader {
 public:
  VocReader(const std::filesystem::path& root, const VocOptions& options)
      : annotations_(root / "Annotations"), images_(root / "JPEGImages"), options_(options) {
    const auto names = options.class_names.empty() ? names_of_all() : options.class_names;
    for (std::size_t i = 0; i < names.size(); ++i)
      if (!categories_.emplace(names[i], static_cast<std::int32_t>(i)).second)
        fail("VOC: class '", names[i], "' is named twice");
    builder_ = AnnotationBuilder(names);
  }

  DetectionAnnotations read(const std::filesystem::path& list) && {
    for (TextLines lines(list); lines.next();) {
      const auto fields = lines.fields();
      if (fields.size() != 1) fail(lines.where(), ": expected the name of an image, found ", fields.size(), " words");
      const std::string name(fields.front());
      const auto image = find_image(images_, name, lines.where());
      add(VocFile(annotations_ / (name + ".xml"), options_.max_file_bytes), image);
    }
    return std::move(builder_).finish();
  }

 private:
  std::vector<std::string> names_of_all() const {
    std::set<std::string> names;
    for (const auto& path : sorted_entries(annotations_)) {
      if (path.extension() != ".xml") continue;
      const VocFile file(path, options_.max_file_bytes);
      for (const pugi::xml_node object : file.root().children("object")) names.insert(file.text(object, "name"));
    }
    return {names.begin(), names.end()};
  }

  void add(const VocFile& file, const std::filesystem::path& image) {
    const pugi::xml_node size = file.element(file.root(), "size");
    builder_.begin_image(image, file.number<Index>(size, "height"), file.number<Index>(size, "width"),
                         file.where(size));
    for (const pugi::xml_node object : file.root().children("object")) {
      const std::string name = file.text(object, "name");
      const auto category = categories_.find(name);
      if (category == categories_.end()) fail(file.where(object), ": class '", name, "' is not one of those given");
      const Box box = box_of(file, file.element(object, "bndbox"));
      builder_.add({box, category->second, box.area(), false}, [&] { return file.where(object); });
    }
  }

  Box box_of(const VocFile& file, pugi::xml_node corners) const {
    const double shift = options_.corners == VocCorners::pixels ? 1 : 0;
    const double left = file.number<double>(corners, "xmin") - shift,
                 top = file.number<double>(corners, "ymin") - shift;
    return {left, top, file.number<double>(corners, "xmax") - left, file.number<double>(corners, "ymax") - top};
  }

  std::filesystem::path annotations_, images_;
  const VocOptions& options_;
  std::map<std::string, std::int32_t, std::less<>> categories_;
  AnnotationBuilder builder_;
};

}  // namespace detail

/// The images that <root>/ImageSets/Main/<split>.txt lists, with what <root>/Annotations says of them; the images are
/// in <root>/JPEGImages. Objects marked as difficult are taken like all others. Throws Error naming file and line: when
/// an image or its annotation is absent, when an annotation is no XML, lacks an element or has text in place of a
/// number, and for class names that were not given.
inline DetectionAnnotations read_voc(const std::filesystem::path& root, const VocOptions& options = {}) {
  const auto list = root / "ImageSets" / "Main" / (options.split + ".txt");
  return detail::VocReader(root, options).read(list);
}

}  // namespace moevit
