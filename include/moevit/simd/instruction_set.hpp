/// The name of the instruction set that this translation unit is compiled for, as an inline namespace around all
/// kernels: units that are compiled for different sets do not share functions, where the linker would keep one of two
/// and a program could run into instructions that its machine does not have.
#pragma once

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#define MOEVIT_INSTRUCTION_SET avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define MOEVIT_INSTRUCTION_SET avx2
#elif defined(__AVX__)
#define MOEVIT_INSTRUCTION_SET avx
#elif defined(__SSE4_2__)
#define MOEVIT_INSTRUCTION_SET sse4_2
#elif defined(__aarch64__)
#define MOEVIT_INSTRUCTION_SET neon
#else
#define MOEVIT_INSTRUCTION_SET baseline
#endif
