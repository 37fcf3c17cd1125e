/// What this program was compiled with, for the first line of every example, benchmark and bug report.
#pragma once

#include <moevit/core/tensor.hpp>
#include <moevit/simd/simd.hpp>
#include <moevit/version.hpp>

#include <string>

namespace moevit {
namespace detail {

inline std::string version_text(int major, int minor, int patch) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

inline std::string compiler_name() {
#if defined(__clang__)
  return "clang " + version_text(__clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
  return "g++ " + version_text(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#elif defined(_MSC_VER)
  return "MSVC " + std::to_string(_MSC_VER);
#else
  return "an unknown compiler";
#endif
}

// Since 5.0 Eigen counts in the last three of its four macros.
inline std::string eigen_version() {
#if defined(EIGEN_PATCH_VERSION)
  return version_text(EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION, EIGEN_PATCH_VERSION);
#else
  return version_text(EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION);
#endif
}

}  // namespace detail

/// Whether the compiler optimises. MSVC does not say, so there NDEBUG stands for it.
inline constexpr bool built_with_optimisation =
#if defined(__OPTIMIZE__) || (defined(_MSC_VER) && defined(NDEBUG))
    true;
#else
    false;
#endif

/// One line: moevit's version, compiler, instruction set compiled for, optimisation, assertions (NDEBUG), and the
/// versions of Eigen and xsimd. Example: "moevit 0.1.0, g++ 12.2.0, avx512dq, optimised, NDEBUG, Eigen 3.4.0,
/// xsimd 8.1.0". Where moevit::compiled is linked, the kernels that were chosen stand behind the instruction set.
inline std::string build_info() {
  std::string text = "moevit " + detail::version_text(MOEVIT_VERSION_MAJOR, MOEVIT_VERSION_MINOR, MOEVIT_VERSION_PATCH);
  text += ", " + detail::compiler_name();
  text += std::string(", ") + simd::DefaultArch::name();
#if defined(MOEVIT_COMPILED)
  text += std::string(" with kernels for ") + simd::chosen_kernels().name;
#endif
  text += built_with_optimisation ? ", optimised" : ", not optimised";
#if defined(NDEBUG)
  text += ", NDEBUG";
#else
  text += ", assertions on";
#endif
  text += ", Eigen " + detail::eigen_version();
  text += ", xsimd " + detail::version_text(XSIMD_VERSION_MAJOR, XSIMD_VERSION_MINOR, XSIMD_VERSION_PATCH);
  return text;
}

/// What is wrong with measuring or using this build, one sentence; empty for an optimised one, and for one with the
/// kernels of moevit::compiled, which always are.
inline std::string build_warning() {
#if !defined(MOEVIT_COMPILED)
  if (!built_with_optimisation)
    return "built without optimisation: expect it to be many times slower than with -O2 or -O3";
#endif
  return "";
}

}  // namespace moevit
