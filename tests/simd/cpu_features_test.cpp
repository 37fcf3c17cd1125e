#include "catch.hpp"

#include <moevit/simd/cpu_features.hpp>

#include <fstream>
#include <iostream>
#include <string>

using namespace moevit;

TEST_CASE("the features of the processor are the same whenever they are asked for") {
  CHECK(simd::cpu_features() == simd::detail::detect_features());
}

#if defined(__linux__) && defined(__x86_64__)

TEST_CASE("what the kernel lists among the processor's features is found") {
  std::ifstream file("/proc/cpuinfo");
  std::string flags;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("flags")) flags = line + ' ';
  if (flags.empty()) {
    std::cout << "skipped: no list of features in /proc/cpuinfo\n";
    return;
  }
  const auto listed = [&](const std::string& name) { return flags.find(' ' + name + ' ') != std::string::npos; };
  const simd::CpuFeatures& features = simd::cpu_features();
  CHECK((features.avx512_vnni || !listed("avx512_vnni")));
  CHECK((features.avx512_bf16 || !listed("avx512_bf16")));
  CHECK((features.avx512_fp16 || !listed("avx512_fp16")));
  CHECK((features.amx_bf16 || !listed("amx_bf16")));
  CHECK((features.amx_int8 || !listed("amx_int8")));
}

#endif

TEST_CASE("permission to use AMX is asked once") { CHECK(simd::may_use_amx() == simd::may_use_amx()); }
