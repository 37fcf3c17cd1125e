#include "everything.hpp"

std::string build_info_of_first_unit();

int main() { return build_info_of_first_unit() == moevit::build_info() ? 0 : 1; }
