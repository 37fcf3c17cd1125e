/// Text files with one record per line: lists of names, tables.
#pragma once

#include <moevit/io/bounded_file.hpp>

#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moevit {

/// The lines of a text file one after the other, without what ends them (\n or \r\n) and without a byte order mark.
class TextLines {
 public:
  /// Throws Error as BoundedFile.
  explicit TextLines(const std::filesystem::path& path, Index max_bytes = Index{64} << 20)
      : file_(path, max_bytes), unread_(reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size()) {
    if (unread_.starts_with("\xEF\xBB\xBF")) unread_.remove_prefix(3);
  }

  /// Goes on to the next line that is not empty; false at the end.
  bool next() {
    while (!unread_.empty()) {
      const std::size_t end = unread_.find('\n');
      line_ = unread_.substr(0, end);
      unread_ = end == std::string_view::npos ? std::string_view() : unread_.substr(end + 1);
      if (line_.ends_with('\r')) line_.remove_suffix(1);
      ++number_;
      if (line_.find_first_not_of(" \t") != std::string_view::npos) return true;
    }
    return false;
  }

  std::string_view line() const { return line_; }

  /// Parts between separators. Spaces and tabs, any number of them, when there is no separator.
  std::vector<std::string_view> fields(std::optional<char> separator = {}) const {
    std::vector<std::string_view> parts;
    const std::string_view separators = separator ? std::string_view(&*separator, 1) : std::string_view(" \t");
    for (std::size_t begin = 0; begin <= line_.size();) {
      const std::size_t end = std::min(line_.find_first_of(separators, begin), line_.size());
      if (separator || end > begin) parts.push_back(line_.substr(begin, end - begin));
      begin = end + 1;
    }
    return parts;
  }

  /// "file: line 3", for messages.
  std::string where() const { return file_.name() + ": line " + std::to_string(number_); }

 private:
  BoundedFile file_;
  std::string_view unread_, line_;
  Index number_ = 0;
};

/// The lines that are not empty. Throws Error as BoundedFile.
inline std::vector<std::string> read_names(const std::filesystem::path& path) {
  std::vector<std::string> names;
  for (TextLines lines(path); lines.next();) names.emplace_back(lines.line());
  return names;
}

/// A finite number that is all of the text, but for white space around it; nothing otherwise. The same in every locale.
template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t begin = std::min(text.find_first_not_of(space), text.size());
  text = text.substr(begin, text.find_last_not_of(space) + 1 - begin);
  Number value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if constexpr (std::is_floating_point_v<Number>)
    if (!std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace moevit
