// A posed face as the Gaussians on it need it: found once for each image, not once for each Gaussian.
#pragma once

#include "../triangle.cuh"
#include "arguments.h"

namespace gaussian_rasterization::cuda::fused {

// 9 numbers of the matrix, 4 of the quaternion, 9 of the corners.
static_assert(4 * kFaceVectors >= 9 + 4 + 9);

__device__ __forceinline__ void store_face(const BoundTriangle& t, float4* to) {
  const float* m = t.frame.matrix.m;
  const Quaternion<float>& q = t.frame.quaternion;
  to[0] = make_float4(m[0], m[1], m[2], m[3]);
  to[1] = make_float4(m[4], m[5], m[6], m[7]);
  to[2] = make_float4(m[8], q.w, q.x, q.y);
  to[3] = make_float4(q.z, t.v0.x, t.v0.y, t.v0.z);
  to[4] = make_float4(t.v1.x, t.v1.y, t.v1.z, t.v2.x);
  to[5] = make_float4(t.v2.y, t.v2.z, 0.0f, 0.0f);
}

// What is not used of it is not loaded.
__device__ __forceinline__ BoundTriangle load_face(const float4* from) {
  const float4 a = from[0], b = from[1], c = from[2], d = from[3], e = from[4], f = from[5];
  BoundTriangle t;
  t.frame.matrix = {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x}};
  t.frame.quaternion = {c.y, c.z, c.w, d.x};
  t.v0 = {d.y, d.z, d.w}, t.v1 = {e.x, e.y, e.z}, t.v2 = {e.w, f.x, f.y};
  return t;
}

// Where the face of a Gaussian lies. faces: [B, F, kFaceVectors].
__device__ __forceinline__ const float4* face_of(const float4* faces, std::int64_t faces_per_image, std::int64_t image,
                                                 std::int32_t face) {
  return faces + kFaceVectors * (image * faces_per_image + face);
}

}  // namespace gaussian_rasterization::cuda::fused
