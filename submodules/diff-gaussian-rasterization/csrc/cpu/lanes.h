// Sixteen scalars handled as one: the pixels of a 4x4 block, or the 16 blocks of a tile. As many native vectors as that
// takes.
#pragma once

#include "native.h"

namespace gaussian_rasterization::cpu {

inline constexpr int kLanes = 16;

template <typename T>
struct Lanes {
  static constexpr int kWidth = kVectorWidth<T>;
  static constexpr int kParts = kLanes / kWidth;
  Vector<T> part[kParts];
};

// All bits of an element set: true.
template <typename T>
struct Mask {
  VectorBits<T> part[Lanes<T>::kParts];
};

// f(i) -> native vector, for each part.
template <typename T, typename F>
inline Lanes<T> each_part(F f) {
  Lanes<T> out;
  for (int i = 0; i < Lanes<T>::kParts; ++i) out.part[i] = f(i);
  return out;
}
template <typename T, typename F>
inline Mask<T> each_mask(F f) {
  Mask<T> out;
  for (int i = 0; i < Lanes<T>::kParts; ++i) out.part[i] = f(i);
  return out;
}

template <typename T>
inline Lanes<T> broadcast(T x) {
  return each_part<T>([&](int) { return x - Vector<T>{}; });
}
template <typename T>
inline Lanes<T> load_lanes(const T* p) {
  return each_part<T>([&](int i) { return load_vector<Vector<T>>(p + i * Lanes<T>::kWidth); });
}
template <typename T>
inline void store_lanes(T* p, const Lanes<T>& a) {
  for (int i = 0; i < Lanes<T>::kParts; ++i) store_vector(p + i * Lanes<T>::kWidth, a.part[i]);
}

template <typename T>
inline Lanes<T> operator+(const Lanes<T>& a, const Lanes<T>& b) {
  return each_part<T>([&](int i) { return a.part[i] + b.part[i]; });
}
template <typename T>
inline Lanes<T> operator-(const Lanes<T>& a, const Lanes<T>& b) {
  return each_part<T>([&](int i) { return a.part[i] - b.part[i]; });
}
template <typename T>
inline Lanes<T> operator*(const Lanes<T>& a, const Lanes<T>& b) {
  return each_part<T>([&](int i) { return a.part[i] * b.part[i]; });
}
template <typename T>
inline Lanes<T> operator/(const Lanes<T>& a, const Lanes<T>& b) {
  return each_part<T>([&](int i) { return a.part[i] / b.part[i]; });
}
template <typename T>
inline Lanes<T> operator-(const Lanes<T>& a) {
  return each_part<T>([&](int i) { return -a.part[i]; });
}
// a b + c
template <typename T>
inline Lanes<T> multiply_add(const Lanes<T>& a, const Lanes<T>& b, const Lanes<T>& c) {
  return each_part<T>([&](int i) { return multiply_add(a.part[i], b.part[i], c.part[i]); });
}

template <typename T>
inline Mask<T> at_least(const Lanes<T>& a, const Lanes<T>& b) {
  return each_mask<T>([&](int i) { return VectorBits<T>(a.part[i] >= b.part[i]); });
}
template <typename T>
inline Mask<T> operator&(const Mask<T>& a, const Mask<T>& b) {
  return each_mask<T>([&](int i) { return a.part[i] & b.part[i]; });
}
template <typename T>
inline Lanes<T> select(const Mask<T>& mask, const Lanes<T>& yes, const Lanes<T>& no) {
  return each_part<T>([&](int i) { return mask.part[i] ? yes.part[i] : no.part[i]; });
}
template <typename T>
inline Lanes<T> smaller(const Lanes<T>& a, const Lanes<T>& b) {
  return each_part<T>([&](int i) { return a.part[i] < b.part[i] ? a.part[i] : b.part[i]; });
}
template <typename T>
inline Lanes<T> larger(const Lanes<T>& a, const Lanes<T>& b) {
  return each_part<T>([&](int i) { return a.part[i] > b.part[i] ? a.part[i] : b.part[i]; });
}

// Bit i: whether lane i is negative.
template <typename T>
inline unsigned negative_lanes(const Lanes<T>& a) {
  unsigned mask = 0;
  for (int i = 0; i < Lanes<T>::kParts; ++i) mask |= sign_mask(a.part[i]) << (i * Lanes<T>::kWidth);
  return mask;
}
template <typename T>
inline T sum(const Lanes<T>& a) {
  Vector<T> total = a.part[0];
  for (int i = 1; i < Lanes<T>::kParts; ++i) total += a.part[i];
  return sum(total);
}

inline Lanes<double> exponential(const Lanes<double>& x) {
  return each_part<double>([&](int i) {
    Vector<double> y;
    for (int j = 0; j < Lanes<double>::kWidth; ++j) y[j] = std::exp(x.part[i][j]);
    return y;
  });
}

// e^x for x <= 0.5, within 1 unit in the last place; below -87 it stays at e^-87.
//
// x = n ln2 + r with n whole and |r| <= ln2 / 2; e^x = 2^n e^r. n comes from adding 1.5 * 2^23, which leaves the
// rounded number in the low bits; ln2 is split in two so that n * (high part) is exact. e^r = 1 + r + r^2 p(r): p of
// degree 4 minimises the largest relative error (Lawson's weighted least squares on Chebyshev nodes), which is 3e-9,
// far below half a unit (6e-8).
inline Vector<float> exponential(Vector<float> x) {
  typedef Vector<float> V;
  const auto all = [](float c) { return c - V{}; };
  x = x > all(-87.0f) ? x : all(-87.0f);
  const V shift = all(12582912.0f), shifted = multiply_add(x, all(1.44269504f), shift), n = shifted - shift;
  const V r = multiply_add(n, all(2.12194440e-4f), multiply_add(n, all(-0.693359375f), x));
  V p = multiply_add(all(0.00138145986f), r, all(0.00836871689f));
  p = multiply_add(p, r, all(0.0416683880f));
  p = multiply_add(p, r, all(0.166665206f));
  p = multiply_add(p, r, all(0.499999934f));
  const V mantissa = multiply_add(p, r * r, r) + all(1.0f);
  VectorBits<float> bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + (127 << 23);  // 2^n
  V power;
  std::memcpy(&power, &bits, sizeof power);
  return mantissa * power;
}
inline Lanes<float> exponential(const Lanes<float>& x) {
  return each_part<float>([&](int i) { return exponential(x.part[i]); });
}

}  // namespace gaussian_rasterization::cpu
