# cmake -DCOMPILER= -DINCLUDE= -DSYSTEM_INCLUDE= -DPRECOMPILED= -P precompile.cmake: makes PRECOMPILED, a header that includes
# moevit.hpp, and PRECOMPILED.gch.
cmake_minimum_required(VERSION 3.24)
include("${CMAKE_CURRENT_LIST_DIR}/flags.cmake")
file(WRITE "${PRECOMPILED}" "#include <moevit/moevit.hpp>\n")
execute_process(COMMAND "${COMPILER}" ${flags} -x c++-header "${PRECOMPILED}" -o "${PRECOMPILED}.gch" COMMAND_ERROR_IS_FATAL ANY)
