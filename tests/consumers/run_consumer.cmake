# Builds one consumer from nothing with its build.sh or CMakeLists.txt, runs the program and checks what it prints; see
# CMakeLists.txt.
cmake_minimum_required(VERSION 3.24)
file(REMOVE_RECURSE "${BUILD}")
file(MAKE_DIRECTORY "${BUILD}")

# run(<command>...): its output goes to `output` of the caller.
function(run)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${BUILD}" RESULT_VARIABLE result OUTPUT_VARIABLE printed
                  ECHO_OUTPUT_VARIABLE)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "failed: ${command}")
  endif()
  set(output "${printed}" PARENT_SCOPE)
endfunction()

if(EXISTS "${CONSUMER}/build.sh")
  set(ENV{CXX} "${COMPILER}")
  set(ENV{MOEVIT_SOURCE_DIR} "${SOURCE_DIR}")
  set(ENV{EIGEN_INCLUDE_DIR} "${EIGEN_INCLUDE_DIR}")
  set(ENV{PKG_CONFIG_PATH} "${PREFIX}/share/pkgconfig:$ENV{PKG_CONFIG_PATH}")
  run(bash "${CONSUMER}/build.sh" "${PROGRAM}")
else()
  run("${CMAKE_COMMAND}" -S "${CONSUMER}" -B . -G "${GENERATOR}" -DCMAKE_BUILD_TYPE=Release
      "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_PREFIX_PATH=${PREFIX}" "-DMOEVIT_SOURCE_DIR=${SOURCE_DIR}"
      "-DPROGRAM=${PROGRAM}")
  run("${CMAKE_COMMAND}" --build .)
endif()

set(images "")
foreach(image RANGE 7)
  list(APPEND images "${INPUTS}/image${image}.ppm")
endforeach()
run("${BUILD}/program" "${INPUTS}/net.safetensors" ${images})

# 8 images of 8 x 8 patches and a class token, 2 experts for each token; half of the slots exist: 8 * 65 * 2 / 2.
set(all_wanted 0)
set(all_kept 0)
foreach(expert RANGE 7)
  if(NOT output MATCHES "expert ${expert}: wanted by ([0-9]+), kept ([0-9]+)\n")
    message(FATAL_ERROR "the program says nothing about expert ${expert}")
  endif()
  math(EXPR all_wanted "${all_wanted} + ${CMAKE_MATCH_1}")
  math(EXPR all_kept "${all_kept} + ${CMAKE_MATCH_2}")
endforeach()
if(NOT all_wanted EQUAL 1040 OR all_kept LESS 1 OR all_kept GREATER 544)
  message(FATAL_ERROR "expected 1040 choices of which at most half (rounded up to whole groups of 4 slots) are kept; "
                      "found ${all_wanted} and ${all_kept}")
endif()
