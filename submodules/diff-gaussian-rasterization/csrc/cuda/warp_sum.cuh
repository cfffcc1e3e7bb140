// Sums of several values over the lanes of a warp, in one fixed order.
//
// A transposing butterfly: at each step a lane keeps half of its values, hands the other half to the lane across and
// adds what it is handed. 9 values take 12 exchanges, not 45, and end in 9 different lanes, which can store them with
// one instruction.
#pragma once

#include "../core/scalar.h"
#include "launch.h"

namespace gaussian_rasterization::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

// Returns this lane's sum: of the value number field_of_lane<kCount>(lane). All lanes must take part.
template <int kCount, int kMask = kWarpSize / 2, int kSize>
__device__ __forceinline__ float sum_over_lanes(float (&values)[kSize], int lane) {
  if constexpr (kMask == 0) {
    return values[0];
  } else if constexpr (kCount == 1) {
    values[0] += __shfl_xor_sync(kAllLanes, values[0], kMask);
    return sum_over_lanes<1, kMask / 2>(values, lane);
  } else {
    constexpr int kHalf = (kCount + 1) / 2;
    const bool upper = (lane & kMask) != 0;
#pragma unroll
    for (int i = 0; i < kHalf; ++i) {
      const float low = values[i], high = i + kHalf < kCount ? values[i + kHalf] : 0.0f;
      values[i] = (upper ? high : low) + __shfl_xor_sync(kAllLanes, upper ? low : high, kMask);
    }
    return sum_over_lanes<kHalf, kMask / 2>(values, lane);
  }
}

// Which of the kCount sums the lane ends with; -1 where it has none, or where a lower lane has the same.
template <int kCount>
__device__ __forceinline__ int field_of_lane(int lane) {
  int first = 0, count = kCount, width = kCount;  // of the values [first, first + width), the first `count` exist
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    const bool upper = (lane & mask) != 0;
    const int half = (width + 1) / 2;
    if (width == 1) {
      if (upper) count = 0;
    } else {
      first += upper ? half : 0;
      count = upper ? count - half : smaller(count, half);
    }
    width = half;
  }
  return count > 0 ? first : -1;
}

}  // namespace gaussian_rasterization::cuda
