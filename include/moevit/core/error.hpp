/// The one exception type for bad files, data and arguments.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace moevit {

/// Thrown for bad input. The message says what is wrong, where, what was expected and what was found.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws Error with the parts written one after the other.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(std::move(message).str());
}

}  // namespace moevit
