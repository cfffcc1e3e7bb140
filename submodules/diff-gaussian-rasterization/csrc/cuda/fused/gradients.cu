// From the moments of the splats to the gradients of the numbers that are blended, and of scale and opacity.
#include "../splat_memory.cuh"
#include "../warp_sum.cuh"
#include "faces.cuh"
#include "schedule.cuh"

namespace gaussian_rasterization::cuda::fused {
namespace {

constexpr int kWarps = kPoseThreads / kWarpSize;
constexpr int kCommonFields = 4;  // log scale, opacity logit

struct LocalGradient {
  Vec3<float> mean, color;
  Quaternion<float> rotation;
  float common[kCommonFields];
  float motion[kMotionFields];
};

// Force and torque, about the mesh's middle, of a Gaussian at t before the camera: the gradients to a shift and a turn of
// the scene. A turn d moves the mean by d x (mean - middle) and the rotation q by 1/2 (0, d) q.
__device__ __forceinline__ void find_motion(const Camera<float>& camera, Vec3<float> middle, Vec3<float> t,
                                            Quaternion<float> q, const GaussianGradient<float>& to, float* motion) {
  const Vec3<float> seen = multiply(camera.rotation, middle) + camera.translation;
  const Vec3<float> arm = multiply_transposed(camera.rotation, t - seen), axis{q.x, q.y, q.z};
  const Vec3<float> of_axis{to.rotation.x, to.rotation.y, to.rotation.z};
  const Vec3<float> twist = q.w * of_axis - to.rotation.w * axis + cross(axis, of_axis);
  store_vec3(motion, to.mean);
  store_vec3(motion + 3, cross(arm, to.mean) + 0.5f * twist);
}

__device__ __forceinline__ SplatMoments<float> load_moments(const float4* from, float scale) {
  const float4 a = from[0], b = from[1], c = from[2];
  return {scale * a.x, scale * a.y, scale * a.z, scale * a.w, scale * b.x,
          scale * b.y, scale * b.z, scale * b.w, scale * c.x};
}

__device__ __forceinline__ LocalGradient gradient_of(const GradientsArguments& a, std::int64_t row, std::int64_t image,
                                                     std::int64_t gaussian) {
  LocalGradient out{};
  const std::int64_t i = image * a.sizes.gaussians + gaussian;
  Splat<float> splat;
  copy_splat(a.lists.splats + i, &splat);
  if (splat.opacity == 0.0f) return out;
  const BoundTriangle face = load_face(face_of(a.lists.faces, a.mesh.faces, image, a.mesh.face_ids[gaussian]));
  const Camera<float> camera = camera_of(a.frames, a.sizes, row, image);
  const float4 r = a.lists.rotations[i];
  const Quaternion<float> rotation{r.x, r.y, r.z, r.w};
  const Vec3<float> s = load_vec3(a.avatar.log_scale + 3 * gaussian);
  Gaussian<float> g;
  g.rotation = bind_rotation(face.frame, rotation);
  g.scale = {expf(s.x), expf(s.y), expf(s.z)};
  g.opacity = splat.opacity;
  const float z = splat.depth;  // the splat's centre is where the mean was projected to
  const Vec3<float> t{(splat.x + 0.5f - camera.cx) / camera.fx * z, (splat.y + 0.5f - camera.cy) / camera.fy * z, z};
  const GaussianGradient<float> to = project_vjp(g, camera, t, load_moments(a.lists.moments + 3 * i, a.scale));
  out.mean = bind_mean_vjp(face.frame, to.mean);
  out.rotation = bind_rotation_vjp(face.frame, rotation, to.rotation);
  out.color = {splat.red > 0.0f ? kHarmonic * to.color.x : 0.0f, splat.green > 0.0f ? kHarmonic * to.color.y : 0.0f,
               splat.blue > 0.0f ? kHarmonic * to.color.z : 0.0f};
  out.common[0] = to.scale.x * g.scale.x, out.common[1] = to.scale.y * g.scale.y;
  out.common[2] = to.scale.z * g.scale.z, out.common[3] = to.opacity * g.opacity * (1.0f - g.opacity);
  if (a.frames.corrected) {
    const Vec3<float> middle = load_vec3(corrected_camera(a.frames, a.sizes, image) + 12);
    find_motion(camera, middle, t, g.rotation, to, out.motion);
  }
  return out;
}

// A warp's gradients of one image, set down as they lie in memory and then written side by side.
__device__ __forceinline__ void write_blended(const GradientsArguments& a, const LocalGradient& g, std::int64_t image,
                                              int lane, float* memory) {
  store_vec3(memory + 3 * lane, g.mean);
  store_quaternion(memory + 3 * kGaussiansPerBlock + 4 * lane, g.rotation);
  store_vec3(memory + 7 * kGaussiansPerBlock + 3 * lane, g.color);
  __syncwarp();
  const Exchange exchange{a.sizes.gaussians, a.sizes.images};
  float* out = a.exchange + exchange.image(image);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const int width = part_width(part);
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kGaussiansPerBlock * width;
    float* part_out = out + exchange.part(part) + first;
    const float* part_memory = memory + part_offset(part) * kGaussiansPerBlock;
    for (int j = lane; j < width * kGaussiansPerBlock; j += kWarpSize)
      if (first + j < a.sizes.gaussians * width) part_out[j] = part_memory[j];
  }
  __syncwarp();
}

// Force and torque on the head, over all its Gaussians.
__device__ __forceinline__ void add_motion(const GradientsArguments& a, LocalGradient& g, std::int64_t image, int lane) {
  const float sum = sum_over_lanes<kMotionFields>(g.motion, lane);
  const int field = field_of_lane<kMotionFields>(lane);
  const Exchange exchange{a.sizes.gaussians, a.sizes.images};
  if (field >= 0) atomicAdd(a.exchange + exchange.motion(image) + field, sum);
}

struct GradientMemory {
  float blended[kWarps][kPoseThreads];
  float common[kWarps][kCommonFields][kGaussiansPerBlock];
};

// Scale and opacity are common to the images: each warp has summed its own.
__device__ __forceinline__ void write_common(const GradientsArguments& a, const GradientMemory& memory,
                                             std::int64_t gaussian, int lane, int field) {
  float sum = 0.0f;
  for (int warp = 0; warp < kWarps; ++warp) sum += memory.common[warp][field][lane];
  const Exchange exchange{a.sizes.gaussians, a.sizes.images};
  if (gaussian >= a.sizes.gaussians) return;
  a.exchange[field < 3 ? exchange.scale() + 3 * gaussian + field : exchange.opacity() + gaussian] = sum;
}

// A block has 32 Gaussians; its warps take the images in turn.
__global__ void __launch_bounds__(kPoseThreads, 2) local_gradients_kernel(const GradientsArguments a) {
  __shared__ GradientMemory memory;
  const Exchange exchange{a.sizes.gaussians, a.sizes.images};
  if (blockIdx.x == 0 && threadIdx.x == 0) a.exchange[exchange.overflow()] = a.state->overflow != 0 ? 1.0f : 0.0f;
  if (a.state->overflow != 0) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const std::int64_t gaussian = static_cast<std::int64_t>(blockIdx.x) * kGaussiansPerBlock + lane;
  float common[kCommonFields] = {};
  for (std::int64_t image = warp; image < a.sizes.images; image += kWarps) {
    LocalGradient g{};
    if (gaussian < a.sizes.gaussians) g = gradient_of(a, a.state->row, image, gaussian);
    for (int field = 0; field < kCommonFields; ++field) common[field] += g.common[field];
    write_blended(a, g, image, lane, memory.blended[warp]);
    if (a.frames.corrected) add_motion(a, g, image, lane);
  }
  for (int field = 0; field < kCommonFields; ++field) memory.common[warp][field][lane] = common[field];
  __syncthreads();
  if (warp < kCommonFields) write_common(a, memory, gaussian, lane, warp);
}

}  // namespace

void local_gradients(const GradientsArguments& a, cudaStream_t stream) {
  const Exchange exchange{a.sizes.gaussians, a.sizes.images};
  if (a.frames.corrected)
    check(cudaMemsetAsync(a.exchange + exchange.motion(0), 0, (exchange.length() - exchange.motion(0)) * sizeof(float),
                          stream),
          "clearing forces and torques");
  local_gradients_kernel<<<blocks_for(a.sizes.gaussians, kGaussiansPerBlock), kPoseThreads, 0, stream>>>(a);
  check_launch("local_gradients");
}

}  // namespace gaussian_rasterization::cuda::fused
