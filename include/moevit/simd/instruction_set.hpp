/// The name of the instruction set that this translation unit is compiled for, as an inline namespace around all
/// kernels: units that are compiled for different sets do not share functions, where the linker would keep one of two
/// and a program could run into instructions that its machine does not have. Programs that link moevit::compiled have
/// names of their own, as some of their functions lead to the library's functions of the same signatures.
#pragma once

#if defined(MOEVIT_COMPILED)
#define MOEVIT_NAME_OF_SET(set) program_##set
#else
#define MOEVIT_NAME_OF_SET(set) set
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#define MOEVIT_INSTRUCTION_SET MOEVIT_NAME_OF_SET(avx512)
#elif defined(__AVX2__) && defined(__FMA__)
#define MOEVIT_INSTRUCTION_SET MOEVIT_NAME_OF_SET(avx2)
#elif defined(__AVX__)
#define MOEVIT_INSTRUCTION_SET MOEVIT_NAME_OF_SET(avx)
#elif defined(__SSE4_2__)
#define MOEVIT_INSTRUCTION_SET MOEVIT_NAME_OF_SET(sse4_2)
#elif defined(__aarch64__)
#define MOEVIT_INSTRUCTION_SET MOEVIT_NAME_OF_SET(neon)
#else
#define MOEVIT_INSTRUCTION_SET MOEVIT_NAME_OF_SET(baseline)
#endif
