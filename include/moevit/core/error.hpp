/// The one exception type for bad files, data and arguments.
#pragma once

#include <concepts>
#include <cstdio>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace moevit {

/// Thrown for bad input. The message says what is wrong, where, what was expected and what was found.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {

/// A part of a message: a text or a number, which are written as streams write them. No stream is used, as every
/// program would have to compile its operators again for every combination of parts.
class MessagePart {
 public:
  MessagePart(std::string_view text) : text_(text), kind_(Kind::text) {}
  template <class T>
  requires std::is_arithmetic_v<T> MessagePart(T value) {
    if constexpr (std::same_as<T, char>) {
      character_ = value;
      kind_ = Kind::character;
    } else if constexpr (std::floating_point<T>) {
      real_ = static_cast<double>(value);
      kind_ = Kind::real;
    } else if constexpr (std::is_signed_v<T>) {
      whole_ = value;
      kind_ = Kind::whole;
    } else {
      natural_ = value;
      kind_ = Kind::natural;
    }
  }

  void append_to(std::string& message) const {
    switch (kind_) {
      case Kind::text:
        message += text_;
        break;
      case Kind::character:
        message += character_;
        break;
      case Kind::whole:
        message += std::to_string(whole_);
        break;
      case Kind::natural:
        message += std::to_string(natural_);
        break;
      case Kind::real:
        char digits[32];
        std::snprintf(digits, sizeof digits, "%g", real_);
        message += digits;
        break;
    }
  }

 private:
  enum class Kind : unsigned char { text, character, whole, natural, real };

  union {
    std::string_view text_;
    char character_;
    long long whole_;
    unsigned long long natural_;
    double real_;
  };
  Kind kind_;
};

[[gnu::cold, gnu::noinline]] inline std::string join_parts(std::initializer_list<MessagePart> parts) {
  std::string message;
  for (const MessagePart& part : parts) part.append_to(message);
  return message;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_with(std::initializer_list<MessagePart> parts) {
  throw Error(join_parts(parts));
}

}  // namespace detail

/// The parts, texts and numbers, written one after the other.
template <class... Parts>
std::string message_of(const Parts&... parts) {
  return detail::join_parts({detail::MessagePart(parts)...});
}

/// Throws Error with the parts, texts and numbers, written one after the other.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  detail::fail_with({detail::MessagePart(parts)...});
}

}  // namespace moevit
