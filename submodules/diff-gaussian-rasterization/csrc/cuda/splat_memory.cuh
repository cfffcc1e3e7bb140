// Splats move between memories as three vectors of 16 bytes, not as twelve scalars: a warp's splats then take a quarter
// of the instructions.
#pragma once

#include "../core/projection.h"

namespace gaussian_rasterization::cuda {

static_assert(sizeof(Splat<float>) == 3 * sizeof(float4), "a splat is three vectors");

// Both aligned to 16 bytes.
__device__ __forceinline__ void copy_splat(const Splat<float>* from, Splat<float>* to) {
  const auto* source = reinterpret_cast<const float4*>(from);
  auto* target = reinterpret_cast<float4*>(to);
  target[0] = source[0], target[1] = source[1], target[2] = source[2];
}

// to: aligned to 16 bytes.
__device__ __forceinline__ void store_splat(const Splat<float>& s, Splat<float>* to) {
  auto* target = reinterpret_cast<float4*>(to);
  target[0] = make_float4(s.x, s.y, s.a, s.b);
  target[1] = make_float4(s.c, s.opacity, s.cutoff, s.red);
  target[2] = make_float4(s.green, s.blue, s.depth, s.determinant);
}

}  // namespace gaussian_rasterization::cuda
