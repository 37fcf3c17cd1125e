/// An owning array on cache lines.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/huge_pages.hpp>
#include <moevit/core/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace moevit {

/// Bytes of a cache line, to which buffers are aligned.
inline constexpr std::size_t cache_line = 64;

/// Owns `size` zero-initialised values that start on a cache line; of huge_page bytes and more, where a large page
/// may start. Copies are deep.
template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>, "AlignedBuffer: values must be trivially copyable");

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(Index size) : data_(allocate(size)), size_(size) { std::fill_n(data_, size_, T{}); }
  AlignedBuffer(const AlignedBuffer& other) : data_(allocate(other.size_)), size_(other.size_) {
    std::copy_n(other.data_, size_, data_);
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~AlignedBuffer() { ::operator delete (data_, alignment(bytes(size_))); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  Index size() const { return size_; }
  T& operator[](Index i) { return data_[i]; }
  const T& operator[](Index i) const { return data_[i]; }
  std::span<T> span() { return {data_, static_cast<std::size_t>(size_)}; }
  std::span<const T> span() const { return {data_, static_cast<std::size_t>(size_)}; }

 private:
  static T* allocate(Index size) {
    if (size < 0) fail("AlignedBuffer: expected a size of at least 0, found ", size);
    if (size == 0) return nullptr;
    void* const data = ::operator new (bytes(size), alignment(bytes(size)));
    if (bytes(size) >= huge_page) prefer_huge_pages(data, bytes(size));
    return static_cast<T*>(data);
  }
  static std::size_t bytes(Index size) { return static_cast<std::size_t>(size) * sizeof(T); }
  static std::align_val_t alignment(std::size_t bytes) {
    return std::align_val_t{bytes < huge_page ? cache_line : huge_page};
  }

  T* data_ = nullptr;
  Index size_ = 0;
};

}  // namespace moevit
