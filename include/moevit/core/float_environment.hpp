/// The floating-point environment of a thread, so that others compute as it does.
#pragma once

#if defined(__SSE__) || defined(_M_X64)
#define MOEVIT_HAS_MXCSR 1
#include <xmmintrin.h>
#else
#define MOEVIT_HAS_MXCSR 0
#include <cfenv>
#endif

namespace moevit {

/// How a thread rounds floats and doubles, whether it flushes denormals to zero (FTZ, DAZ) and which exceptions trap.
/// Executors give their workers that of the thread that calls run(), for otherwise results would depend on which thread
/// computes them.
class FloatEnvironment {
 public:
  /// That of the calling thread.
  static FloatEnvironment current() {
    FloatEnvironment environment;
#if MOEVIT_HAS_MXCSR
    environment.control_ = _mm_getcsr() & ~raised_flags;
#else
    std::fegetenv(&environment.state_);
#endif
    return environment;
  }

  /// Makes it that of the calling thread. Flags of exceptions raised so far may be lost.
  void apply() const {
#if MOEVIT_HAS_MXCSR
    if ((_mm_getcsr() & ~raised_flags) != control_) _mm_setcsr(control_);  // reading is much cheaper than writing
#else
    std::fesetenv(&state_);
#endif
  }

 private:
#if MOEVIT_HAS_MXCSR
  // Floats are computed in SSE registers, whose control word this is; fesetenv would load the x87 unit's as well, which
  // takes longer than a fork.
  static constexpr unsigned raised_flags = 0x3f;
  unsigned control_ = 0;
#else
  std::fenv_t state_{};
#endif
};

}  // namespace moevit
