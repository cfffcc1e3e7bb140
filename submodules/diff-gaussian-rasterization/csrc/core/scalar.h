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
GR_HD double exponential(double x) { return ::exp(x); }
GR_HD double power_of_two(double x) { return ::exp2(x); }
// On the GPU, where an exponential and a division are a large part of every pixel's work, the hardware's own: within a
// few units in the last place for the arguments of an alpha, [-5.6, 0], and of 1 - alpha, [0.01, 1].
#if defined(__CUDA_ARCH__)
GR_HD float exponential(float x) { return __expf(x); }
GR_HD float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GR_HD float quotient(float a, float b) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(b));
  return a * inverse;
}
#else
GR_HD float exponential(float x) { return ::expf(x); }
GR_HD float power_of_two(float x) { return ::exp2f(x); }
GR_HD float quotient(float a, float b) { return a / b; }
#endif
GR_HD double quotient(double a, double b) { return a / b; }
GR_HD float natural_log(float x) { return ::logf(x); }
GR_HD double natural_log(double x) { return ::log(x); }
GR_HD float round_up(float x) { return ::ceilf(x); }
GR_HD double round_up(double x) { return ::ceil(x); }
GR_HD float round_down(float x) { return ::floorf(x); }
GR_HD double round_down(double x) { return ::floor(x); }

}  // namespace gaussian_rasterization
