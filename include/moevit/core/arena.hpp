/// Scratch memory that is allocated once and handed out like a stack.
#pragma once

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>

namespace moevit {

/// Bytes that `count` values take in an Arena: whole cache lines.
template <class T>
constexpr Index arena_bytes(Index count) {
  return round_up(count * static_cast<Index>(sizeof(T)), static_cast<Index>(cache_line));
}

/// Counts what would be taken of an Arena, so that the code that takes arrays also says how many bytes they need.
class ArenaBytes {
 public:
  template <class T>
  constexpr T* take(Index count) {
    bytes_ += arena_bytes<T>(count);
    return nullptr;
  }
  constexpr Index bytes() const { return bytes_; }

 private:
  Index bytes_ = 0;
};

/// A stack of scratch arrays. Arena::Scope gives back what was taken since it began.
class Arena {
 public:
  explicit Arena(Index bytes = 0) : memory_(bytes) {}

  /// `count` uninitialised values on a cache line. Throws Error when the arena is too small: that is a wrong scratch
  /// bound.
  template <class T>
  T* take(Index count) {
    static_assert(std::is_trivially_copyable_v<T>);
    const Index bytes = arena_bytes<T>(count);
    if (used_ + bytes > memory_.size())
      fail("scratch arena: expected at most ", memory_.size(), " bytes, needed ", used_ + bytes);
    T* result = reinterpret_cast<T*>(memory_.data() + used_);
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return result;
  }

  Index capacity() const { return memory_.size(); }
  /// Most bytes in use at any time so far.
  Index peak() const { return peak_; }

  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), used_(arena.used_) {}
    ~Scope() { arena_.used_ = used_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    Index used_;
  };

 private:
  AlignedBuffer<std::byte> memory_;
  Index used_ = 0;
  Index peak_ = 0;
};

}  // namespace moevit
