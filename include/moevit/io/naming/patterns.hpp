/// Names with numbers in them: patterns where {} stands for a number.
#pragma once

#include <cctype>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moevit::detail {

/// The numbers where a pattern has {}, as text, when a name fits it.
inline std::optional<std::vector<std::string>> match_numbers(std::string_view pattern, std::string_view name) {
  std::vector<std::string> numbers;
  std::size_t place = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (!pattern.substr(i).starts_with("{}")) {
      if (place == name.size() || name[place++] != pattern[i]) return std::nullopt;
      continue;
    }
    const std::size_t begin = place;
    while (place < name.size() && std::isdigit(static_cast<unsigned char>(name[place]))) ++place;
    if (place == begin) return std::nullopt;
    numbers.emplace_back(name.substr(begin, place - begin));
    ++i;
  }
  if (place != name.size()) return std::nullopt;
  return numbers;
}

/// A pattern with numbers in the places of {}, one after the other; those without a number stay.
inline std::string fill_numbers(std::string_view pattern, std::span<const std::string> numbers) {
  std::string name(pattern);
  std::size_t place = 0;
  for (const std::string& number : numbers) {
    place = name.find("{}", place);
    if (place == std::string::npos) break;
    name.replace(place, 2, number);
    place += number.size();
  }
  return name;
}

}  // namespace moevit::detail
