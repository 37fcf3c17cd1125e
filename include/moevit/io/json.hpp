/// The one place where nlohmann's JSON parser is called, so that a program compiles it once.
#pragma once

#include <nlohmann/json.hpp>

#include <string_view>
#include <utility>

namespace moevit::detail {

using JsonEvents = nlohmann::json_sax<nlohmann::json>;

/// Sends the events of a text to `events`, whose parse_error() is told what is not JSON. Returns whether all of the
/// text was taken.
inline bool parse_json(std::string_view text, JsonEvents& events) {
#if NLOHMANN_JSON_VERSION_MAJOR == 3 && NLOHMANN_JSON_VERSION_MINOR <= 12
  // json::sax_parse is the same and the published way, but brings the readers of four binary formats with it, which
  // take longer to compile than the whole of the parser. Versions that nobody has tried yet go that way.
  auto input = nlohmann::detail::input_adapter(text.data(), text.data() + text.size());
  return nlohmann::detail::parser<nlohmann::json, decltype(input)>(std::move(input)).sax_parse(&events);
#else
  return nlohmann::json::sax_parse(text.data(), text.data() + text.size(), &events);
#endif
}

}  // namespace moevit::detail
