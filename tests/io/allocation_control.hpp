/// Counts what operator new is asked for, and makes it fail on purpose.
#pragma once

#include <cstddef>

namespace allocation_control {

/// After `count` more allocations every one throws std::bad_alloc.
void fail_after(long count);
void never_fail();

/// Bytes asked for since reset_requested().
std::size_t requested();
void reset_requested();

}  // namespace allocation_control
