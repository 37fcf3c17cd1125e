/// The images that a command line names: files, folders and data sets in one numbered list.
#pragma once

#include <moevit/io/dataset.hpp>

#include <algorithm>
#include <iostream>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace examples {

/// Says what went wrong on standard error and remembers that something did, so that a program can go on and still end
/// with exit code 1.
class Problems {
 public:
  explicit Problems(std::string program) : program_(std::move(program)) {}
  /// The same problem is said once, however often it is met.
  void report(const std::string& what) {
    if (said_.insert(what).second) std::cerr << program_ << ": error: " << what << '\n';
  }
  /// Something to know that is no failure.
  void note(const std::string& what) const { std::cerr << program_ << ": note: " << what << '\n'; }
  bool any() const { return !said_.empty(); }

 private:
  std::string program_;
  std::set<std::string> said_;
};

/// The classes of a model.
struct Classes {
  moevit::Index count = 0;
  std::vector<std::string> names;  // empty: unknown

  std::string name(moevit::Index number) const {
    return names.empty() ? std::to_string(number) : names.at(static_cast<std::size_t>(number));
  }
};

/// Images of one or more data sets. Labels are numbers of the model's classes, -1 where there is none.
class ImageList {
 public:
  /// Opens every path, as moevit::open_dataset does. A path that cannot be opened is a problem; the others stay.
  /// Classes that a data set names are found by name among the model's; without names the numbers are taken as they
  /// are.
  ImageList(const std::vector<std::string>& paths, const std::string& split, const Classes& classes, Problems& problems)
      : ImageList(paths, split, &classes, problems) {}
  /// The same without labels, for models that do not classify images.
  ImageList(const std::vector<std::string>& paths, const std::string& split, Problems& problems)
      : ImageList(paths, split, nullptr, problems) {}

  /// The first `count` images, or all if there are fewer.
  ImageList first(moevit::Index count) const {
    ImageList part = *this;
    part.entries_.resize(static_cast<std::size_t>(std::clamp<moevit::Index>(count, 0, size())));
    return part;
  }

  moevit::Index size() const { return std::ssize(entries_); }
  bool has_labels() const {
    return std::any_of(entries_.begin(), entries_.end(), [](const Entry& entry) { return entry.label >= 0; });
  }
  std::string name(moevit::Index i) const { return at(i).set->name(at(i).image); }
  moevit::Index label(moevit::Index i) const { return at(i).label; }
  /// Any number of threads may read at once. Throws moevit::Error naming the image.
  void read(moevit::Index i, const moevit::Preprocessing& target, std::span<float> out) const {
    at(i).set->read(at(i).image, target, out);
  }
  /// The image as it is stored. Throws moevit::Error naming it.
  moevit::Image pixels(moevit::Index i) const { return at(i).set->pixels(at(i).image); }

 private:
  struct Entry {
    const moevit::Dataset* set;
    moevit::Index image;
    moevit::Index label;
  };

  ImageList(const std::vector<std::string>& paths, const std::string& split, const Classes* classes,
            Problems& problems) {
    for (const std::string& path : paths) {
      try {
        std::shared_ptr<const moevit::Dataset> set = moevit::open_dataset(path, {.split = split, .limits = {}});
        append(*set, path, classes, problems);
        sets_.push_back(std::move(set));
      } catch (const moevit::Error& error) {
        problems.report(error.what());
      }
    }
  }

  const Entry& at(moevit::Index i) const { return entries_.at(static_cast<std::size_t>(i)); }

  void append(const moevit::Dataset& set, const std::string& path, const Classes* classes, Problems& problems) {
    if (!set.skipped().empty())
      problems.note(path + ": " + std::to_string(set.skipped().size()) + " files are no images by their names, e.g. " +
                    set.skipped().front());
    std::set<std::string> unknown;
    std::vector<Entry> entries;
    for (moevit::Index image = 0; image < set.size(); ++image)
      entries.push_back({&set, image, classes ? find_class(set, image, *classes, unknown) : -1});
    entries_.insert(entries_.end(), entries.begin(), entries.end());
    if (!unknown.empty())
      problems.note(path + ": " + std::to_string(unknown.size()) + " of its classes are none of the model's, e.g. '" +
                    *unknown.begin() + "'; their images count as images without a label");
  }

  static moevit::Index find_class(const moevit::Dataset& set, moevit::Index image, const Classes& classes,
                                  std::set<std::string>& unknown) {
    const moevit::Index label = set.label(image);
    if (label < 0 || set.class_names().empty() || classes.names.empty()) {
      if (label >= classes.count)
        moevit::fail(set.name(image), ": has label ", label, ", but the model has ", classes.count, " classes");
      return label;
    }
    const std::string& name = set.class_names().at(static_cast<std::size_t>(label));
    const auto found = std::find(classes.names.begin(), classes.names.end(), name);
    if (found != classes.names.end()) return found - classes.names.begin();
    unknown.insert(name);
    return -1;
  }

  std::vector<std::shared_ptr<const moevit::Dataset>> sets_;
  std::vector<Entry> entries_;
};

}  // namespace examples
