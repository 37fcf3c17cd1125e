# moevit_readme_program(<README> <output>): writes the C++ block of the README that has a main function reading argv as a
# source file. Its own helper `image_slot` is put before it where the block leaves that out.
function(moevit_readme_program readme output)
  file(READ "${readme}" text)
  string(FIND "${text}" "int main(int argc, char** argv)" main)
  if(main EQUAL -1)
    message(FATAL_ERROR "${readme} has no program: 'int main(int argc, char** argv)' is not in it")
  endif()
  string(SUBSTRING "${text}" 0 ${main} before)
  string(FIND "${before}" "```cpp\n" fence REVERSE)
  math(EXPR start "${fence} + 7")
  string(SUBSTRING "${text}" ${start} -1 program)
  string(FIND "${program}" "```" length)
  string(SUBSTRING "${program}" 0 ${length} program)
  if(NOT program MATCHES "image_slot\\(std::")
    string(PREPEND program "#include <span>\n#include <vector>\n
inline std::span<float> image_slot(std::vector<float>& images, int image) {
  const std::size_t values = images.size() / 8;
  return std::span<float>(images).subspan(static_cast<std::size_t>(image) * values, values);
}\n\n")
  endif()
  file(CONFIGURE OUTPUT "${output}" CONTENT "${program}" @ONLY)
endfunction()
