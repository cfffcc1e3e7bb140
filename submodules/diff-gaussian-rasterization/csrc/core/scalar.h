// Scalar helpers that compile for host and device. No torch, no CUDA runtime.
#pragma once

#include <cmath>
#include <limits>

#if defined(__CUDACC__)
#define GR_HD __host__ __device__ __forceinline__
#else
#define GR_HD inline
#endif

namespace gaussian_rasterization {

template <typename T>
GR_HD T smaller(T a, T b) {
  return a < b ? a : b;
}
template <typename T>
GR_HD T larger(T a, T b) {
  return a > b ? a : b;
}
template <typename T>
GR_HD T clamped(T x, T low, T high) {
  return smaller(larger(x, low), high);
}
template <typename T>
GR_HD T squared(T x) {
  return x * x;
}

// Infinity minus itself, like NaN, is not 0. Needs a compiler that keeps IEEE semantics (no -ffast-math).
template <typename T>
GR_HD bool is_finite(T x) {
  return x - x == T(0);
}

// One overload per type, so that device code does not fall into double precision.
GR_HD float square_root(float x) { return ::sqrtf(x); }
GR_HD double square_root(double x) { return ::sqrt(x); }
GR_HD float exponential(float x) { return ::expf(x); }
GR_HD double exponential(double x) { return ::exp(x); }
GR_HD float natural_log(float x) { return ::logf(x); }
GR_HD double natural_log(double x) { return ::log(x); }
GR_HD float round_up(float x) { return ::ceilf(x); }
GR_HD double round_up(double x) { return ::ceil(x); }
GR_HD float round_down(float x) { return ::floorf(x); }
GR_HD double round_down(double x) { return ::floor(x); }

}  // namespace gaussian_rasterization
