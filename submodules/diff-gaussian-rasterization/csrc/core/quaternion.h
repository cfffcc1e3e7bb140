// Quaternions (w, x, y, z): rotation matrices, products, and their vector-Jacobian products.
#pragma once

#include "constants.h"
#include "linalg.h"

namespace gaussian_rasterization {

template <typename T>
struct Quaternion {
  T w, x, y, z;
};

template <typename T>
GR_HD Quaternion<T> load_quaternion(const T* p) {
  return {p[0], p[1], p[2], p[3]};
}
template <typename T>
GR_HD void store_quaternion(T* p, Quaternion<T> q) {
  p[0] = q.w, p[1] = q.x, p[2] = q.y, p[3] = q.z;
}
template <typename T>
GR_HD T dot(Quaternion<T> a, Quaternion<T> b) {
  return a.w * b.w + a.x * b.x + a.y * b.y + a.z * b.z;
}
template <typename T>
GR_HD Quaternion<T> scaled(Quaternion<T> q, T s) {
  return {s * q.w, s * q.x, s * q.y, s * q.z};
}
template <typename T>
GR_HD Quaternion<T> conjugate(Quaternion<T> q) {
  return {q.w, -q.x, -q.y, -q.z};
}

// Whether q has a direction: its squared norm is finite and not (nearly) 0.
template <typename T>
GR_HD bool has_direction(Quaternion<T> q) {
  const T norm2 = dot(q, q);
  return is_finite(norm2) && norm2 >= T(kMinQuaternionNorm * kMinQuaternionNorm);
}

// q / |q|; the zero quaternion where q has no direction.
template <typename T>
GR_HD Quaternion<T> normalized(Quaternion<T> q) {
  if (!has_direction(q)) return {T(0), T(0), T(0), T(0)};
  return scaled(q, T(1) / square_root(dot(q, q)));
}

// Gradient to q of normalized(q), from the gradient g to its result: (g - u (u.g)) / |q|, u = q / |q|. 0 where q has no
// direction.
template <typename T>
GR_HD Quaternion<T> normalized_vjp(Quaternion<T> q, Quaternion<T> g) {
  if (!has_direction(q)) return {T(0), T(0), T(0), T(0)};
  const T inverse_norm = T(1) / square_root(dot(q, q));
  const Quaternion<T> u = scaled(q, inverse_norm);
  const T along = dot(u, g);
  return {(g.w - u.w * along) * inverse_norm, (g.x - u.x * along) * inverse_norm, (g.y - u.y * along) * inverse_norm,
          (g.z - u.z * along) * inverse_norm};
}

// Hamilton product a b: the rotation b, then the rotation a.
template <typename T>
GR_HD Quaternion<T> product(Quaternion<T> a, Quaternion<T> b) {
  return {a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
          a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}

// Rotation matrix of a unit quaternion: v -> q v q*, written out.
template <typename T>
GR_HD Mat3<T> rotation_matrix(Quaternion<T> q) {
  const T xx = q.x * q.x, yy = q.y * q.y, zz = q.z * q.z, xy = q.x * q.y, xz = q.x * q.z, yz = q.y * q.z;
  const T wx = q.w * q.x, wy = q.w * q.y, wz = q.w * q.z;
  return {{T(1) - T(2) * (yy + zz), T(2) * (xy - wz), T(2) * (xz + wy),  //
           T(2) * (xy + wz), T(1) - T(2) * (xx + zz), T(2) * (yz - wx),  //
           T(2) * (xz - wy), T(2) * (yz + wx), T(1) - T(2) * (xx + yy)}};
}

// Gradient to the (unit) quaternion of rotation_matrix(q), from the gradient g to the matrix: each entry above,
// differentiated.
template <typename T>
GR_HD Quaternion<T> rotation_matrix_vjp(Quaternion<T> q, const Mat3<T>& gradient) {
  const T* g = gradient.m;
  const T a = g[7] - g[5], b = g[2] - g[6], c = g[3] - g[1];        // antisymmetric part: goes with w
  const T sxy = g[1] + g[3], sxz = g[2] + g[6], syz = g[5] + g[7];  // symmetric part
  return {T(2) * (q.x * a + q.y * b + q.z * c), T(2) * (q.w * a + q.y * sxy + q.z * sxz - T(2) * q.x * (g[4] + g[8])),
          T(2) * (q.w * b + q.x * sxy + q.z * syz - T(2) * q.y * (g[0] + g[8])),
          T(2) * (q.w * c + q.x * sxz + q.y * syz - T(2) * q.z * (g[0] + g[4]))};
}

// Unit quaternion of a rotation matrix. 4 w^2 = 1 + trace, and likewise for x, y, z; the largest of the four is at
// least 1/4, so dividing by it is safe (Shepperd 1978). That component comes out positive.
template <typename T>
GR_HD Quaternion<T> quaternion_of_rotation(const Mat3<T>& rotation) {
  const T* r = rotation.m;
  const T w4 = T(1) + r[0] + r[4] + r[8], x4 = T(1) + r[0] - r[4] - r[8];
  const T y4 = T(1) - r[0] + r[4] - r[8], z4 = T(1) - r[0] - r[4] + r[8];
  Quaternion<T> q;  // 4 times the largest component times the quaternion
  if (w4 >= x4 && w4 >= y4 && w4 >= z4) {
    q = {w4, r[7] - r[5], r[2] - r[6], r[3] - r[1]};
  } else if (x4 >= y4 && x4 >= z4) {
    q = {r[7] - r[5], x4, r[1] + r[3], r[2] + r[6]};
  } else if (y4 >= z4) {
    q = {r[2] - r[6], r[1] + r[3], y4, r[5] + r[7]};
  } else {
    q = {r[3] - r[1], r[2] + r[6], r[5] + r[7], z4};
  }
  return normalized(q);
}

}  // namespace gaussian_rasterization
