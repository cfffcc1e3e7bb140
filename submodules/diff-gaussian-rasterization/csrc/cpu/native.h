// The widest vector the target has, as GCC and clang spell it, and the few operations that the language's vector
// extension lacks.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace gaussian_rasterization::cpu {

#if defined(__AVX512F__) && defined(__AVX512DQ__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__) && defined(__FMA__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <typename T>
struct NativeTypes;
template <>
struct NativeTypes<float> {
  typedef float Vector __attribute__((vector_size(kVectorBytes)));
  typedef std::int32_t Bits __attribute__((vector_size(kVectorBytes)));
};
template <>
struct NativeTypes<double> {
  typedef double Vector __attribute__((vector_size(kVectorBytes)));
  typedef std::int64_t Bits __attribute__((vector_size(kVectorBytes)));
};
template <typename T>
using Vector = typename NativeTypes<T>::Vector;
template <typename T>
using VectorBits = typename NativeTypes<T>::Bits;
template <typename T>
inline constexpr int kVectorWidth = kVectorBytes / static_cast<int>(sizeof(T));

template <typename V, typename T>
inline V load_vector(const T* p) {
  V v;
  std::memcpy(&v, p, sizeof(V));
  return v;
}
template <typename V, typename T>
inline void store_vector(T* p, V v) {
  std::memcpy(p, &v, sizeof(V));
}

// The scalar in all places of a vector; or itself.
template <typename V, typename T>
inline V spread(T x) {
  return V{} + x;
}

// a b + c, rounded once where the target can: spelled out so that two kernels that repeat a formula get the same bits.
// sign_mask: bit i is the sign of element i.
#if defined(__FMA__)
inline float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
inline double multiply_add(double a, double b, double c) { return std::fma(a, b, c); }
#endif
#if defined(__AVX512F__) && defined(__AVX512DQ__)
inline Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm512_fmadd_pd(a, b, c);
}
inline unsigned sign_mask(Vector<float> v) { return _mm512_movepi32_mask(_mm512_castps_si512(v)); }
inline unsigned sign_mask(Vector<double> v) { return _mm512_movepi64_mask(_mm512_castpd_si512(v)); }
inline float sum(Vector<float> v) { return _mm512_reduce_add_ps(v); }
inline double sum(Vector<double> v) { return _mm512_reduce_add_pd(v); }
#elif defined(__AVX2__) && defined(__FMA__)
inline Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
  return _mm256_fmadd_pd(a, b, c);
}
inline unsigned sign_mask(Vector<float> v) { return static_cast<unsigned>(_mm256_movemask_ps(v)); }
inline unsigned sign_mask(Vector<double> v) { return static_cast<unsigned>(_mm256_movemask_pd(v)); }
inline float sum(Vector<float> v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
inline double sum(Vector<double> v) { return (v[0] + v[2]) + (v[1] + v[3]); }
#else
template <typename V>
inline V multiply_add(V a, V b, V c) {
  return a * b + c;
}
template <typename V>
inline unsigned sign_mask(V v) {
  unsigned mask = 0;
  for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i) mask |= (std::signbit(v[i]) ? 1u : 0u) << i;
  return mask;
}
inline float sum(Vector<float> v) { return (v[0] + v[2]) + (v[1] + v[3]); }
inline double sum(Vector<double> v) { return v[0] + v[1]; }
#endif

}  // namespace gaussian_rasterization::cpu
