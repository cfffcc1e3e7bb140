// The triangle that a Gaussian is bound to.
#pragma once

#include "../core/arguments.h"
#include "../core/binding.h"

namespace gaussian_rasterization::cuda {

struct BoundTriangle {
  Vec3<float> v0, v1, v2;
  FaceFrame<float> frame;
};

__device__ __forceinline__ bool is_index(std::int64_t i, std::int64_t count) { return i >= 0 && i < count; }

// False where the face, or a corner of it, does not exist.
template <typename Index>
__device__ __forceinline__ bool find_face(const MeshArguments<float, Index>& mesh, std::int64_t image,
                                          std::int64_t face, BoundTriangle& out) {
  if (!is_index(face, mesh.faces)) return false;
  const Index* corners = mesh.face_vertices + 3 * face;
  const std::int64_t i0 = corners[0], i1 = corners[1], i2 = corners[2];
  if (!(is_index(i0, mesh.vertices) && is_index(i1, mesh.vertices) && is_index(i2, mesh.vertices))) return false;
  const float* vertices = mesh.vertex_positions + 3 * mesh.vertices * image;
  out.v0 = load_vec3(vertices + 3 * i0), out.v1 = load_vec3(vertices + 3 * i1), out.v2 = load_vec3(vertices + 3 * i2);
  out.frame = face_frame(out.v0, out.v1, out.v2, mesh.tangents[2 * face], mesh.tangents[2 * face + 1]);
  return true;
}

// That of a Gaussian. The frame is found anew for each: cheaper than to fetch one from memory, for the plain operators,
// which would have to write it first.
template <typename Index>
__device__ __forceinline__ bool find_triangle(const MeshArguments<float, Index>& mesh, std::int64_t image,
                                              std::int64_t gaussian, BoundTriangle& out) {
  return find_face(mesh, image, static_cast<std::int64_t>(mesh.face_ids[gaussian]), out);
}

}  // namespace gaussian_rasterization::cuda
