/// Text of HTML and SVG: escaping, numbers, and a drawing that collects elements.
#pragma once

#include <cstdio>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace moevit::report {

/// The parts written one after the other.
template <class... Parts>
std::string join(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return std::move(stream).str();
}

/// Text that may stand between tags and in quoted attributes. Control characters, which HTML forbids, become '?'.
inline std::string escape(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += static_cast<unsigned char>(letter) < 0x20 ? '?' : letter;
    }
  }
  return result;
}

/// Exactly `decimals` decimals, for columns of numbers.
inline std::string fixed(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

/// At most `decimals` decimals, without zeros at the end.
inline std::string number(double value, int decimals = 1) {
  std::string result = fixed(value, decimals);
  if (result.find('.') != std::string::npos) {
    result.erase(result.find_last_not_of('0') + 1);
    if (result.back() == '.') result.pop_back();
  }
  return result == "-0" ? "0" : result;
}

/// 0.4567 as "45.7%".
inline std::string percent(double share, int decimals = 1) { return number(100 * share, decimals) + "%"; }

/// A whole number with its thousands apart: 12,345.
inline std::string grouped(long long value) {
  const std::string digits = std::to_string(value);
  std::string result;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const bool after_digit = i > 0 && digits[i - 1] != '-';
    if (after_digit && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

/// A name cut to `most` characters (not in the middle of a UTF-8 character), escaped.
inline std::string shortened(std::string_view name, std::size_t most) {
  if (name.size() <= most) return escape(name);
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
  return escape(name.substr(0, end)) + "…";
}

/// An SVG element that shows an image file in this size, from a data: URI. `attributes`: as they stand in the tag.
inline std::string image_element(std::string_view data_uri, double width, double height,
                                 std::string_view attributes = {}) {
  return join("<image ", attributes, attributes.empty() ? "" : " ", "width=\"", number(width), "\" height=\"",
              number(height), "\" preserveAspectRatio=\"none\" class=\"pixels\" href=\"", data_uri, "\"/>");
}

/// An SVG drawing of width x height units, a unit being `scale` pixels. Looks come from classes of the page's style
/// sheet, so that a drawing follows the reader's light or dark scheme.
class Drawing {
 public:
  /// `label` says to screen readers what it shows.
  Drawing(double width, double height, std::string_view label, double scale = 1)
      : text_(join("<svg width=\"", number(scale * width), "\" height=\"", number(scale * height), "\" viewBox=\"0 0 ",
                   number(width), " ", number(height), "\" role=\"img\" aria-label=\"", escape(label), "\">")) {}

  /// `attributes`: as they stand in the tag. `tip`: shown when the pointer rests on it.
  void rect(double x, double y, double width, double height, std::string_view attributes, std::string_view tip = {}) {
    text_ += join("<rect x=\"", number(x, 2), "\" y=\"", number(y, 2), "\" width=\"", number(width, 2), "\" height=\"",
                  number(height, 2), "\" ", attributes, tip.empty() ? "/>" : "><title>");
    if (!tip.empty()) text_ += escape(tip) + "</title></rect>";
  }
  void line(double x1, double y1, double x2, double y2, std::string_view attributes) {
    text_ += join("<line x1=\"", number(x1, 2), "\" y1=\"", number(y1, 2), "\" x2=\"", number(x2, 2), "\" y2=\"",
                  number(y2, 2), "\" ", attributes, "/>");
  }
  /// `content` must be escaped.
  void label(double x, double y, std::string_view content, std::string_view attributes = {}) {
    text_ += join("<text x=\"", number(x, 2), "\" y=\"", number(y, 2), "\" ", attributes, ">", content, "</text>");
  }
  /// Any element.
  void add(std::string_view element) { text_ += element; }

  std::string finish() && {
    text_ += "</svg>";
    return std::move(text_);
  }

 private:
  std::string text_;
};

}  // namespace moevit::report
