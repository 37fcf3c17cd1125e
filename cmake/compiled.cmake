# moevit::compiled: the kernels of include/moevit/simd compiled for several instruction sets. A program that links it runs
# on any machine of the family with the best set that the machine has, whatever flags the program is compiled with.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  message(FATAL_ERROR "MOEVIT_COMPILED: expected g++ or clang++, found ${CMAKE_CXX_COMPILER_ID}")
endif()

set(sources "${PROJECT_SOURCE_DIR}/include/moevit/simd/compiled")
add_library(moevit_compiled STATIC "${sources}/choose.cpp")
add_library(moevit::compiled ALIAS moevit_compiled)
target_link_libraries(moevit_compiled PUBLIC moevit)
target_compile_definitions(moevit_compiled INTERFACE MOEVIT_COMPILED)
set_target_properties(moevit_compiled PROPERTIES EXPORT_NAME compiled POSITION_INDEPENDENT_CODE ON)
set_property(GLOBAL APPEND PROPERTY MOEVIT_COMPONENTS compiled)

# moevit_compile_kernels(<set> <flags>...): <set> is the name that simd/instruction_set.hpp gives to these flags.
# Always optimised: only then does nothing but the kernels themselves end up in the objects.
function(moevit_compile_kernels set)
  set(target moevit_kernels_${set})
  add_library(${target} OBJECT "${sources}/kernels.cpp")
  target_link_libraries(${target} PRIVATE moevit)
  target_compile_options(${target} PRIVATE -O3 -fno-exceptions ${ARGN})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_sources(moevit_compiled PRIVATE $<TARGET_OBJECTS:${target}>)
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  moevit_compile_kernels(baseline)
  moevit_compile_kernels(sse4_2 -msse4.2)
  moevit_compile_kernels(avx2 -mavx2 -mfma)
  moevit_compile_kernels(avx512 -mavx2 -mfma -mavx512f -mavx512cd -mavx512bw -mavx512dq -mavx512vl)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  moevit_compile_kernels(neon)
else()
  message(FATAL_ERROR "MOEVIT_COMPILED: expected an x86-64 or 64-bit ARM processor, found ${CMAKE_SYSTEM_PROCESSOR}")
endif()
