#include "catch.hpp"

#include <moevit/build_info.hpp>

#include <string>

TEST_CASE("build_info names version, libraries and assertions in one line") {
  const std::string info = moevit::build_info();
  CHECK(info.starts_with("moevit " + std::to_string(MOEVIT_VERSION_MAJOR) + "."));
  CHECK(info.find('\n') == std::string::npos);
  CHECK(info.find("assertions on") != std::string::npos);  // tests never define NDEBUG
  CHECK(info.find("Eigen ") != std::string::npos);
  CHECK(info.find("xsimd " + std::to_string(XSIMD_VERSION_MAJOR) + ".") != std::string::npos);
}

TEST_CASE("build_warning warns exactly about kernels without optimisation") {
#ifdef __OPTIMIZE__
  CHECK(moevit::build_info().find(", optimised") != std::string::npos);
#else
  CHECK(moevit::build_info().find("not optimised") != std::string::npos);
#endif
#if defined(__OPTIMIZE__) || defined(MOEVIT_COMPILED)
  CHECK(moevit::build_warning().empty());
#else
  CHECK(moevit::build_warning().find("without optimisation") != std::string::npos);
#endif
}
