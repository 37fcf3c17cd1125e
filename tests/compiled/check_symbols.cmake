# Every function that two units of the library could share has the instruction set in its name, and the program has no
# kernels of its own.
cmake_minimum_required(VERSION 3.24)

# symbols(<file>): `lines` of the caller gets "member:address type name" of all that the file defines.
function(symbols file)
  execute_process(COMMAND "${NM}" --demangle --defined-only --print-file-name "${file}" OUTPUT_VARIABLE output
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE ";" "," output "${output}")
  string(REPLACE "[" "(" output "${output}")
  string(REPLACE "]" ")" output "${output}")
  string(REPLACE "\n" ";" output "${output}")
  set(lines "${output}" PARENT_SCOPE)
endfunction()

symbols("${LIBRARY}")
set(weak ${lines})
list(FILTER weak INCLUDE REGEX "kernels.*: *[0-9a-f]* [WVu] ")
list(LENGTH weak count)
if(count LESS 100)
  message(FATAL_ERROR "expected at least 100 functions of the kernels in ${LIBRARY}, found ${count}")
endif()
list(FILTER weak EXCLUDE REGEX "moevit::simd::(baseline|sse4_2|avx2|avx512|neon)::")
if(weak)
  list(JOIN weak "\n  " text)
  message(FATAL_ERROR "expected names with an instruction set, found\n  ${text}")
endif()

foreach(object IN LISTS OBJECTS)
  symbols("${object}")
  list(FILTER lines INCLUDE REGEX "simd::[a-z0-9_]+::(detail::)?(multiply_[a-z_]*tile|attention_head|softmax_tile|put_reduced_row|multiply_few|put_winograd_[a-z]*|[a-z_]*gradient_row)<")
  if(lines)
    list(JOIN lines "\n  " text)
    message(FATAL_ERROR "expected a program without kernels of its own, found\n  ${text}")
  endif()
endforeach()
message(STATUS "${count} functions, each named by its instruction set; the program has none of its own")
