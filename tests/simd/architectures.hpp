/// The instruction sets that one test program covers.
#pragma once

#include "catch.hpp"

#include <moevit/simd/simd.hpp>

#include <string>
#include <type_traits>

namespace moevit::test {

namespace detail {

template <class Arch, class Visit>
void visit_architecture(Visit& visit) {
  // What the compiler flags allow, the machine that runs this program has.
  if constexpr (Arch::supported()) {
    INFO("instruction set " << std::string(Arch::name()));
    visit(Arch{});
  }
}

}  // namespace detail

/// Calls visit(Arch{}) for the default instruction set and the others of its family that the compiler flags allow.
template <class Visit>
void for_each_architecture(Visit visit) {
  detail::visit_architecture<simd::DefaultArch>(visit);
#if defined(__x86_64__)
  detail::visit_architecture<xsimd::sse2>(visit);
  detail::visit_architecture<xsimd::sse4_2>(visit);
  detail::visit_architecture<xsimd::fma3<xsimd::avx2>>(visit);
#endif
}

/// Counts around one register of `lanes` floats, two (a panel of weights), and beyond.
inline std::vector<Index> counts_around(Index lanes) {
  return {1, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes, 2 * lanes + 1, 5 * lanes + 3};
}

}  // namespace moevit::test
