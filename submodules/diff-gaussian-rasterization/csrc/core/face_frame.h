// The orthonormal frame of a UV-mapped triangle.
#pragma once

#include "quaternion.h"

namespace gaussian_rasterization {

template <typename T>
struct FaceFrame {
  Mat3<T> matrix;            // columns: tangent, bitangent, normal; a proper rotation
  Quaternion<T> quaternion;  // the same rotation
};

// Whether v can be made unit: long enough, and its squared length does not overflow.
template <typename T>
GR_HD bool is_direction(Vec3<T> v) {
  const T length2 = dot(v, v);
  return length2 >= T(kMinEdgeLength * kMinEdgeLength) && is_finite(length2);
}
template <typename T>
GR_HD Vec3<T> unit(Vec3<T> v) {
  return (T(1) / square_root(dot(v, v))) * v;
}

// Some unit vector at a right angle to the unit vector v: v crossed with the axis it is least aligned with.
template <typename T>
GR_HD Vec3<T> any_perpendicular(Vec3<T> v) {
  const T x = v.x * v.x, y = v.y * v.y, z = v.z * v.z;
  const Vec3<T> axis = x <= y && x <= z ? Vec3<T>{T(1), T(0), T(0)}
                       : y <= z         ? Vec3<T>{T(0), T(1), T(0)}
                                        : Vec3<T>{T(0), T(0), T(1)};
  return unit(cross(v, axis));
}

// Unit normal of the edges e1, e2. A triangle without area takes any normal at a right angle to its longer edge; one
// shrunk to a point (or not finite) takes the z axis.
template <typename T>
GR_HD Vec3<T> face_normal(Vec3<T> e1, Vec3<T> e2) {
  const Vec3<T> longer = dot(e1, e1) >= dot(e2, e2) ? e1 : e2;
  if (!(is_direction(longer) && is_finite(dot(e1, e2)))) return {T(0), T(0), T(1)};
  const T inverse_length = T(1) / square_root(dot(longer, longer));
  const Vec3<T> normal = cross(inverse_length * e1, inverse_length * e2);  // its length: height over longer edge
  return dot(normal, normal) >= T(kMinFaceSine * kMinFaceSine) ? unit(normal)
                                                               : any_perpendicular(inverse_length * longer);
}

// v without its part along the unit normal n, made unit. False where nothing is left.
template <typename T>
GR_HD bool tangent_along(Vec3<T> v, Vec3<T> n, Vec3<T>& tangent) {
  const Vec3<T> rest = v - dot(v, n) * n;
  if (!(is_direction(rest) && dot(rest, rest) >= squared(T(kMinFaceSine)) * dot(v, v))) return false;
  tangent = unit(rest);
  tangent = unit(tangent - dot(tangent, n) * n);  // again: the first pass leaves a rounding of v's length
  return true;
}

// Frame of the triangle v0, v1, v2 whose UV tangent is a e1 + b e2 (e1 = v1 - v0, e2 = v2 - v0): n = unit(e1 x e2), t
// by Gram-Schmidt against n, then n x t. Fallbacks, in this order: the tangent falls back to e1, to e2, to any vector
// at a right angle to n.
template <typename T>
GR_HD FaceFrame<T> face_frame(Vec3<T> v0, Vec3<T> v1, Vec3<T> v2, T a, T b) {
  const Vec3<T> e1 = v1 - v0, e2 = v2 - v0, normal = face_normal(e1, e2);
  Vec3<T> tangent;
  if (!(tangent_along(a * e1 + b * e2, normal, tangent) || tangent_along(e1, normal, tangent) ||
        tangent_along(e2, normal, tangent)))
    tangent = any_perpendicular(normal);
  FaceFrame<T> frame;
  frame.matrix = from_columns(tangent, cross(normal, tangent), normal);
  frame.quaternion = quaternion_of_rotation(frame.matrix);
  return frame;
}

}  // namespace gaussian_rasterization
