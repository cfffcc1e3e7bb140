#include "bind.h"

#include "triangle.cuh"

namespace gaussian_rasterization::cuda {
namespace {

constexpr int kThreads = 128;

template <typename Index>
__global__ void __launch_bounds__(kThreads) bind_kernel(const BindToMeshArguments<Index> a) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.mesh.images * a.mesh.gaussians) return;
  const std::int64_t image = i / a.mesh.gaussians, gaussian = i % a.mesh.gaussians;
  const float nan = __int_as_float(0x7fffffff);
  Vec3<float> mean{nan, nan, nan};
  Quaternion<float> rotation{nan, nan, nan, nan};
  BoundTriangle t;
  if (find_triangle(a.mesh, image, gaussian, t)) {
    const Vec3<float> anchor = anchor_point(t.v0, t.v1, t.v2, load_vec3(a.mesh.barycentrics + 3 * gaussian));
    mean = bind_mean(t.frame, anchor, load_vec3(a.bind.means + 3 * i));
    rotation = bind_rotation(t.frame, load_quaternion(a.bind.rotations + 4 * i));
  }
  store_vec3(a.bind.world_means + 3 * i, mean);
  store_quaternion(a.bind.world_rotations + 4 * i, rotation);
}

template <typename Index>
__global__ void __launch_bounds__(kThreads) bind_backward_kernel(const BindToMeshBackwardArguments<Index> a) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.mesh.images * a.mesh.gaussians) return;
  Vec3<float> mean{};
  Quaternion<float> rotation{};
  BoundTriangle t;
  if (find_triangle(a.mesh, i / a.mesh.gaussians, i % a.mesh.gaussians, t)) {
    mean = bind_mean_vjp(t.frame, load_vec3(a.bind.grad_world_means + 3 * i));
    rotation = bind_rotation_vjp(t.frame, load_quaternion(a.bind.rotations + 4 * i),
                                 load_quaternion(a.bind.grad_world_rotations + 4 * i));
  }
  store_vec3(a.bind.grad_means + 3 * i, mean);
  store_quaternion(a.bind.grad_rotations + 4 * i, rotation);
}

}  // namespace

template <typename Index>
void bind_to_mesh(const BindToMeshArguments<Index>& a, cudaStream_t stream) {
  const std::int64_t count = a.mesh.images * a.mesh.gaussians;
  if (count == 0) return;
  bind_kernel<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(a);
  check_launch("bind_to_mesh");
}

template <typename Index>
void bind_to_mesh_backward(const BindToMeshBackwardArguments<Index>& a, cudaStream_t stream) {
  const std::int64_t count = a.mesh.images * a.mesh.gaussians;
  if (count == 0) return;
  bind_backward_kernel<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(a);
  check_launch("bind_to_mesh_backward");
}

template void bind_to_mesh(const BindToMeshArguments<std::int32_t>&, cudaStream_t);
template void bind_to_mesh(const BindToMeshArguments<std::int64_t>&, cudaStream_t);
template void bind_to_mesh_backward(const BindToMeshBackwardArguments<std::int32_t>&, cudaStream_t);
template void bind_to_mesh_backward(const BindToMeshBackwardArguments<std::int64_t>&, cudaStream_t);

}  // namespace gaussian_rasterization::cuda
