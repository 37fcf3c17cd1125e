#include "everything.hpp"

std::string build_info_of_first_unit() { return moevit::build_info(); }
