# MOEVIT_FETCH=ON: installed packages first; what is missing is downloaded, at a fixed commit. Only headers are taken, so
# none of these projects is configured (their SOURCE_SUBDIR does not exist).
include(FetchContent)

# moevit_fetch(<package> <repository> <commit> <include directory in it> <variable for that directory>)
function(moevit_fetch package repository commit include_directory variable)
  if(${variable})
    return()
  endif()
  FetchContent_Declare(${package} GIT_REPOSITORY ${repository} GIT_TAG ${commit} SOURCE_SUBDIR headers-only
                       FIND_PACKAGE_ARGS CONFIG GLOBAL)
  FetchContent_MakeAvailable(${package})
  string(TOLOWER ${package} name)
  if(DEFINED ${name}_SOURCE_DIR)
    message(STATUS "${package} is not installed: using ${${name}_SOURCE_DIR}")
    cmake_path(APPEND ${name}_SOURCE_DIR ${include_directory} OUTPUT_VARIABLE directory)
    set(${variable} "${directory}" PARENT_SCOPE)
  endif()
endfunction()

moevit_fetch(Eigen3 https://gitlab.com/libeigen/eigen.git
             3147391d946bb4b6c68edd901f2add6ac1f31f8c "." MOEVIT_EIGEN_INCLUDE_DIR)  # 3.4.0
moevit_fetch(xsimd https://github.com/xtensor-stack/xsimd.git
             e12bf0a928bd6668ff701db55803a9e316cb386c include MOEVIT_XSIMD_INCLUDE_DIR)  # 10.0.0
moevit_fetch(nlohmann_json https://github.com/nlohmann/json.git
             9cca280a4d0ccf0c08f47a99aa71d1b0e52f8d03 single_include MOEVIT_JSON_INCLUDE_DIR)  # 3.11.3
if(MOEVIT_JSON_INCLUDE_DIR)
  moevit_headers_target(nlohmann_json::nlohmann_json "${MOEVIT_JSON_INCLUDE_DIR}")
endif()
