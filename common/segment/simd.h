// Loops that become vector instructions, of the widest kind that the machine has. Files that use it
// are compiled with -O3 -ffp-contract=off (CMakeLists.txt): sums run in fixed lanes, so they round
// alike whatever the width.
#pragma once

#include <cstddef>

#if defined(__x86_64__)
#define SLUICE_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SLUICE_SIMD
#endif

namespace sluice {

// Sums run in this many lanes, folded pairwise at the end: four registers of AVX-512.
inline constexpr size_t kLanes = 64;

template <size_t kWidth = kLanes / 2>
[[gnu::always_inline]] inline float FoldLanes(float* lanes) {
  for (size_t i = 0; i < kWidth; ++i) lanes[i] += lanes[i + kWidth];
  if constexpr (kWidth > 1) FoldLanes<kWidth / 2>(lanes);
  return lanes[0];
}

}  // namespace sluice
