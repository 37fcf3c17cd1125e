# cmake -DCOMPILER= -DSOURCE= -DINCLUDE= -DSYSTEM_INCLUDE= -DPRECOMPILED= -P check_pair.cmake: see CMakeLists.txt.
cmake_minimum_required(VERSION 3.24)
file(STRINGS "${SOURCE}" expectations REGEX "^// expect: ")
file(STRINGS "${SOURCE}" failing_flags REGEX "^// failing flags: ")
if(NOT expectations)
  message(FATAL_ERROR "${SOURCE} has no line '// expect: <sentence>'")
endif()
list(TRANSFORM expectations REPLACE "^// expect: " "")
list(TRANSFORM failing_flags REPLACE "^// failing flags: " "")

include("${CMAKE_CURRENT_LIST_DIR}/flags.cmake")
list(APPEND flags -fsyntax-only)
separate_arguments(failing_flags)
set(precompiled -include "${PRECOMPILED}")  # g++ and clang++ take PRECOMPILED.gch instead
set(precompiled_of_failing ${precompiled})
if(failing_flags)
  set(precompiled_of_failing "")  # was compiled with other flags
endif()

execute_process(COMMAND "${COMPILER}" ${flags} ${precompiled} "${SOURCE}" RESULT_VARIABLE result ERROR_VARIABLE diagnostics)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must compile without MUST_NOT_COMPILE:\n${diagnostics}")
endif()

execute_process(COMMAND "${COMPILER}" ${flags} ${precompiled_of_failing} -DMUST_NOT_COMPILE ${failing_flags} "${SOURCE}"
                RESULT_VARIABLE result ERROR_VARIABLE diagnostics)
if(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles with MUST_NOT_COMPILE; expected: ${expectations}")
endif()
foreach(sentence IN LISTS expectations)
  string(FIND "${diagnostics}" "${sentence}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "${SOURCE} fails without saying '${sentence}':\n${diagnostics}")
  endif()
endforeach()
