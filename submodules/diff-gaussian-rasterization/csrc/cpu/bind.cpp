#include "bind.h"

#include <vector>

#include "../core/binding.h"

namespace gaussian_rasterization::cpu {
namespace {

constexpr std::int64_t kPieceSize = 2048;

template <typename T>
struct Triangle {
  Vec3<T> v0, v1, v2;
};

template <typename T, typename Index>
inline Triangle<T> triangle_of(const MeshArguments<T, Index>& mesh, std::int64_t image, std::int64_t face) {
  const T* vertices = mesh.vertex_positions + 3 * mesh.vertices * image;
  const Index* corner = mesh.face_vertices + 3 * face;
  return {load_vec3(vertices + 3 * corner[0]), load_vec3(vertices + 3 * corner[1]),
          load_vec3(vertices + 3 * corner[2])};
}

// Frames of all faces in all images [B, F]: several Gaussians share a face.
template <typename T, typename Index>
std::vector<FaceFrame<T>> frames_of(const MeshArguments<T, Index>& mesh, const RunOnAllThreads& run) {
  std::vector<FaceFrame<T>> frames(mesh.images * mesh.faces);
  parallel_pieces(run, mesh.images * mesh.faces, kPieceSize, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t face = i % mesh.faces;
      const Triangle<T> t = triangle_of(mesh, i / mesh.faces, face);
      frames[i] = face_frame(t.v0, t.v1, t.v2, mesh.tangents[2 * face], mesh.tangents[2 * face + 1]);
    }
  });
  return frames;
}

}  // namespace

template <typename T, typename Index>
void bind_to_mesh(const MeshArguments<T, Index>& mesh, const BindArguments<T>& a, const RunOnAllThreads& run) {
  const std::vector<FaceFrame<T>> frames = frames_of(mesh, run);
  parallel_pieces(run, mesh.images * mesh.gaussians, kPieceSize, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t image = i / mesh.gaussians, gaussian = i % mesh.gaussians, face = mesh.face_ids[gaussian];
      const FaceFrame<T>& frame = frames[image * mesh.faces + face];
      const Triangle<T> t = triangle_of(mesh, image, face);
      const Vec3<T> anchor = anchor_point(t.v0, t.v1, t.v2, load_vec3(mesh.barycentrics + 3 * gaussian));
      store_vec3(a.world_means + 3 * i, bind_mean(frame, anchor, load_vec3(a.means + 3 * i)));
      store_quaternion(a.world_rotations + 4 * i, bind_rotation(frame, load_quaternion(a.rotations + 4 * i)));
    }
  });
}

template <typename T, typename Index>
void bind_to_mesh_backward(const MeshArguments<T, Index>& mesh, const BindGradientArguments<T>& a,
                           const RunOnAllThreads& run) {
  const std::vector<FaceFrame<T>> frames = frames_of(mesh, run);
  parallel_pieces(run, mesh.images * mesh.gaussians, kPieceSize, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const FaceFrame<T>& frame = frames[i / mesh.gaussians * mesh.faces + mesh.face_ids[i % mesh.gaussians]];
      store_vec3(a.grad_means + 3 * i, bind_mean_vjp(frame, load_vec3(a.grad_world_means + 3 * i)));
      store_quaternion(a.grad_rotations + 4 * i, bind_rotation_vjp(frame, load_quaternion(a.rotations + 4 * i),
                                                                   load_quaternion(a.grad_world_rotations + 4 * i)));
    }
  });
}

#define GR_INSTANTIATE(T, Index)                                                                               \
  template void bind_to_mesh(const MeshArguments<T, Index>&, const BindArguments<T>&, const RunOnAllThreads&); \
  template void bind_to_mesh_backward(const MeshArguments<T, Index>&, const BindGradientArguments<T>&,         \
                                      const RunOnAllThreads&);
GR_INSTANTIATE(float, std::int32_t)
GR_INSTANTIATE(float, std::int64_t)
GR_INSTANTIATE(double, std::int32_t)
GR_INSTANTIATE(double, std::int64_t)
#undef GR_INSTANTIATE

}  // namespace gaussian_rasterization::cpu
