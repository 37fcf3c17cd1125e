/// Waiting for what is about to happen without going to sleep.
#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <ctime>
#else
#include <chrono>
#endif
#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif

namespace moevit {

/// Tells the core that this thread waits in a loop.
inline void relax_core() {
#if defined(__SSE2__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` does nothing on most cores; this takes about as long as _mm_pause
#endif
}

/// Nanoseconds on a clock that never goes back. <chrono> is avoided where that is possible, for it takes a quarter of a
/// second to compile in every program.
inline std::int64_t steady_nanoseconds() {
#if defined(__unix__) || defined(__APPLE__)
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{1'000'000'000} * time.tv_sec + time.tv_nsec;
#else
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
#endif
}

/// Processors that the calling thread may run on; 0 if unknown.
inline unsigned available_processors() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return static_cast<unsigned>(CPU_COUNT(&allowed));
#endif
  return std::thread::hardware_concurrency();
}

/// A wait that is meant to be over soon. Its patience is at most 80 microseconds. It is halved whenever it was in vain,
/// down to 10, so that little is wasted where the other threads do not get a core; and doubled by each success.
class Spinner {
 public:
  /// crowded: there are more threads than processors. Then it does not wait at all: it would only keep others from
  /// running, and offering them the core is no better, since that may be lost to another process for milliseconds.
  explicit Spinner(bool crowded) : crowded_(crowded) {}

  /// Waits until done() or as long as the patience lasts; returns whether done().
  template <class Done>
  bool wait(Done done) {
    if (done()) return true;
    if (crowded_) return false;
    const bool success = spin(done);
    patience_ = success ? std::min(2 * patience_, longest) : std::max(patience_ / 2, shortest);
    return success;
  }

 private:
  static constexpr std::int64_t longest = 80'000;  // nanoseconds
  static constexpr std::int64_t shortest = 10'000;

  template <class Done>
  bool spin(Done done) const {
    const std::int64_t end = steady_nanoseconds() + patience_;
    do
      for (int i = 0; i < 16; ++i) {  // looking at the clock takes longer than done()
        relax_core();
        if (done()) return true;
      }
    while (steady_nanoseconds() < end);
    return false;
  }

  bool crowded_;
  std::int64_t patience_ = longest;
};

}  // namespace moevit
