// From a triangle's frame to world space, and the vector-Jacobian product. Mesh and frames carry no gradient.
#pragma once

#include "face_frame.h"

namespace gaussian_rasterization {

// anchor: the point of the triangle the Gaussian is bound to, sum bary_i vertex_i.
template <typename T>
GR_HD Vec3<T> anchor_point(Vec3<T> v0, Vec3<T> v1, Vec3<T> v2, Vec3<T> barycentric) {
  return barycentric.x * v0 + barycentric.y * v1 + barycentric.z * v2;
}

template <typename T>
GR_HD Vec3<T> bind_mean(const FaceFrame<T>& frame, Vec3<T> anchor, Vec3<T> mean) {
  return multiply(frame.matrix, mean) + anchor;
}
template <typename T>
GR_HD Vec3<T> bind_mean_vjp(const FaceFrame<T>& frame, Vec3<T> gradient) {
  return multiply_transposed(frame.matrix, gradient);
}

// quat(frame) x normalize(rotation): the zero quaternion where the rotation has no direction.
template <typename T>
GR_HD Quaternion<T> bind_rotation(const FaceFrame<T>& frame, Quaternion<T> rotation) {
  return product(frame.quaternion, normalized(rotation));
}
// Multiplying by a unit quaternion turns the 4-space rigidly, so its adjoint is multiplying by the conjugate.
template <typename T>
GR_HD Quaternion<T> bind_rotation_vjp(const FaceFrame<T>& frame, Quaternion<T> rotation, Quaternion<T> gradient) {
  return normalized_vjp(rotation, product(conjugate(frame.quaternion), gradient));
}

}  // namespace gaussian_rasterization
