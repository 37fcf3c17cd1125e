# How moevit's own tests, examples and benchmarks are compiled. The library's targets carry none of this.
include(cmake/architecture.cmake)

option(MOEVIT_WERROR "Warnings are errors in moevit's own programs" ON)
set(MOEVIT_SANITIZE "" CACHE STRING "Sanitizers for moevit's own programs, e.g. address,undefined")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
find_program(MOEVIT_CCACHE ccache)
mark_as_advanced(MOEVIT_CCACHE)
if(MOEVIT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${MOEVIT_CCACHE})
endif()

# Compile flags of every program of ours: linked as moevit_program_options.
add_library(moevit_program_options INTERFACE)
target_compile_options(moevit_program_options INTERFACE
  -Wall -Wextra -Wconversion -Wshadow
  $<$<BOOL:${MOEVIT_WERROR}>:-Werror>
  # g++ 12 reports its own AVX-512 intrinsics as reading uninitialised values once Eigen has inlined them.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
moevit_architecture_flags(architecture_flags)
target_compile_options(moevit_program_options INTERFACE ${architecture_flags})
if(MOEVIT_SANITIZE)
  set(sanitizer_flags -fsanitize=${MOEVIT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(moevit_program_options INTERFACE ${sanitizer_flags})
  target_link_options(moevit_program_options INTERFACE ${sanitizer_flags})
endif()

# For a build of everything, where compiling is what takes long: kernels from moevit::compiled instead of in every program,
# and headers that many programs begin with compiled once.
option(MOEVIT_LINK_COMPILED "Examples, benchmarks and tests of what lies above the kernels use moevit::compiled" OFF)
option(MOEVIT_PRECOMPILE "Examples and benchmarks use precompiled headers, as the tests always do" OFF)
add_library(moevit_program_kernels INTERFACE)
if(MOEVIT_LINK_COMPILED)
  target_link_libraries(moevit_program_kernels INTERFACE moevit::compiled)
endif()

# moevit_precompile_headers(<holder> <library> <headers>...): compiles the headers with the options that users of the
# library have, for moevit_use_precompiled(<target> <holder>), where the target has the same ones. With precompiled headers
# g++ 12 forgets which of its own intrinsics it must not warn about.
set(moevit_precompiled_options $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>)
function(moevit_precompile_headers holder library)
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/precompiled/${holder}.cpp" CONTENT "")
  add_library(${holder} OBJECT EXCLUDE_FROM_ALL "${PROJECT_BINARY_DIR}/precompiled/${holder}.cpp")
  target_link_libraries(${holder} PRIVATE ${library})
  target_compile_options(${holder} PRIVATE ${moevit_precompiled_options})
  target_precompile_headers(${holder} PRIVATE ${ARGN})
endfunction()
function(moevit_use_precompiled target holder)
  target_compile_options(${target} PRIVATE ${moevit_precompiled_options})
  target_precompile_headers(${target} REUSE_FROM ${holder})
endfunction()
