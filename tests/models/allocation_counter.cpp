// Stands in front of glibc's malloc and its relatives.
#include "allocation_counter.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

#if defined(__has_feature)
#define MOEVIT_HAS_FEATURE(feature) __has_feature(feature)
#else
#define MOEVIT_HAS_FEATURE(feature) 0
#endif

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !MOEVIT_HAS_FEATURE(address_sanitizer) && !MOEVIT_HAS_FEATURE(thread_sanitizer)
#define MOEVIT_COUNTS_ALLOCATIONS 1
#else
#define MOEVIT_COUNTS_ALLOCATIONS 0
#endif

namespace {
std::atomic<bool> counting = false;
std::atomic<long> calls = 0;
}  // namespace

#if MOEVIT_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

static void count_call() {
  if (counting.load(std::memory_order_relaxed)) calls.fetch_add(1, std::memory_order_relaxed);
}
void* malloc(std::size_t size) noexcept {
  count_call();
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  count_call();
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
  count_call();
  return __libc_realloc(memory, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  count_call();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  count_call();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  count_call();
  *memory = __libc_memalign(alignment, size);
  return *memory ? 0 : ENOMEM;
}
}
#endif

namespace allocation_counter {

bool available() { return MOEVIT_COUNTS_ALLOCATIONS; }
void start() {
  calls = 0;
  counting = true;
}
long stop() {
  counting = false;
  return calls;
}

}  // namespace allocation_counter
