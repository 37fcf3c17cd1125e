// Replaces the global operator new of this test program.
#include "io/allocation_control.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> remaining = -1;  // negative: allocations never fail
std::atomic<std::size_t> requested_bytes = 0;

void* allocate(std::size_t size, std::size_t alignment) {
  if (remaining >= 0 && remaining-- == 0) {
    remaining = 0;
    throw std::bad_alloc();
  }
  requested_bytes += size;
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;
  if (void* memory = std::aligned_alloc(alignment, whole ? whole : alignment)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
// The sanitizers' own would not pass through the first one.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace allocation_control {

void fail_after(long count) { remaining = count; }
void never_fail() { remaining = -1; }
std::size_t requested() { return requested_bytes; }
void reset_requested() { requested_bytes = 0; }

}  // namespace allocation_control
