# Builds one consumer from nothing with its build.sh or CMakeLists.txt and runs the program; see CMakeLists.txt.
cmake_minimum_required(VERSION 3.24)
file(REMOVE_RECURSE "${BUILD}")
file(MAKE_DIRECTORY "${BUILD}")

function(run)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${BUILD}" RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "failed: ${command}")
  endif()
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
run("${BUILD}/program")
