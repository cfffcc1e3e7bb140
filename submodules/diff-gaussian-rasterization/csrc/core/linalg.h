// Vectors of 3 and 3x3 matrices (row-major), just what the kernels need.
#pragma once

#include "scalar.h"

namespace gaussian_rasterization {

template <typename T>
struct Vec3 {
  T x, y, z;
};

// Row-major: m[3 * row + column].
template <typename T>
struct Mat3 {
  T m[9];
};

template <typename T>
GR_HD Vec3<T> load_vec3(const T* p) {
  return {p[0], p[1], p[2]};
}
template <typename T>
GR_HD void store_vec3(T* p, Vec3<T> v) {
  p[0] = v.x, p[1] = v.y, p[2] = v.z;
}

template <typename T>
GR_HD Vec3<T> operator+(Vec3<T> a, Vec3<T> b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <typename T>
GR_HD Vec3<T> operator-(Vec3<T> a, Vec3<T> b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
template <typename T>
GR_HD Vec3<T> operator*(T s, Vec3<T> a) {
  return {s * a.x, s * a.y, s * a.z};
}
template <typename T>
GR_HD T dot(Vec3<T> a, Vec3<T> b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <typename T>
GR_HD Vec3<T> cross(Vec3<T> a, Vec3<T> b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
template <typename T>
GR_HD bool is_finite(Vec3<T> a) {
  return is_finite(a.x) && is_finite(a.y) && is_finite(a.z);
}

template <typename T>
GR_HD Vec3<T> row(const Mat3<T>& a, int i) {
  return {a.m[3 * i], a.m[3 * i + 1], a.m[3 * i + 2]};
}
template <typename T>
GR_HD Vec3<T> column(const Mat3<T>& a, int j) {
  return {a.m[j], a.m[3 + j], a.m[6 + j]};
}
template <typename T>
GR_HD Mat3<T> from_columns(Vec3<T> a, Vec3<T> b, Vec3<T> c) {
  return {{a.x, b.x, c.x, a.y, b.y, c.y, a.z, b.z, c.z}};
}

// a v
template <typename T>
GR_HD Vec3<T> multiply(const Mat3<T>& a, Vec3<T> v) {
  return {dot(row(a, 0), v), dot(row(a, 1), v), dot(row(a, 2), v)};
}
// transpose(a) v
template <typename T>
GR_HD Vec3<T> multiply_transposed(const Mat3<T>& a, Vec3<T> v) {
  return {dot(column(a, 0), v), dot(column(a, 1), v), dot(column(a, 2), v)};
}

}  // namespace gaussian_rasterization
