/// What errors say.
#pragma once

#include "catch.hpp"

#include <moevit/core/error.hpp>

#include <string>

namespace moevit::test {

/// The message of the Error that work() throws.
template <class Work>
std::string error_of(Work work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  FAIL("expected an Error");
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace moevit::test
