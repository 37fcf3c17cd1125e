# The flags of all compilations here, from -DINCLUDE= and -DSYSTEM_INCLUDE=.
set(flags -std=c++20)
foreach(directory IN LISTS INCLUDE)
  list(APPEND flags "-I${directory}")
endforeach()
set(implicit_directories /usr/include)  # as a system directory it would hide the compiler's own headers
foreach(directory IN LISTS SYSTEM_INCLUDE)
  if(NOT directory IN_LIST implicit_directories)
    list(APPEND flags -isystem "${directory}")
  endif()
endforeach()
