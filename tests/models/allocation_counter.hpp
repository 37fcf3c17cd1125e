/// Counts calls of the C allocation functions, which operator new ends in as well.
#pragma once

namespace allocation_counter {

/// Whether this build counts: glibc without sanitizers.
bool available();
/// Allocations by any thread since start().
void start();
long stop();

}  // namespace allocation_counter
