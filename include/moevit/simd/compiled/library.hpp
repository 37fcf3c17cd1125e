/// The functions of the library moevit::compiled, as C knows them: no type that depends on an instruction set.
#pragma once

#include <moevit/version.hpp>

// A library of another version must not be linked: its name does not fit.
#define MOEVIT_JOIN_NAME(name, major, minor, patch) name##_##major##_##minor##_##patch
#define MOEVIT_EXPAND_NAME(name, major, minor, patch) MOEVIT_JOIN_NAME(name, major, minor, patch)
#define MOEVIT_LIBRARY_NAME(name) \
  MOEVIT_EXPAND_NAME(name, MOEVIT_VERSION_MAJOR, MOEVIT_VERSION_MINOR, MOEVIT_VERSION_PATCH)

extern "C" {

/// The KernelTable in use.
const void* MOEVIT_LIBRARY_NAME(moevit_chosen_kernels)();

/// Takes the kernels of the set of this name; returns 0 where the library or the machine does not have it.
int MOEVIT_LIBRARY_NAME(moevit_use_kernels)(const char* name);

}  // extern "C"
