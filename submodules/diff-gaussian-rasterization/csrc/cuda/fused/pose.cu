#include <cuda_fp16.h>

#include <cub/device/device_scan.cuh>

#include "../splat_memory.cuh"
#include "arguments.h"
#include "faces.cuh"
#include "schedule.cuh"
#include "tile_walk.cuh"

namespace gaussian_rasterization::cuda::fused {
namespace {

constexpr int kPlaceThreads = 256;
constexpr int kWarps = kPoseThreads / kWarpSize;
constexpr int kBasesAhead = 10;  // whose loads are on the way at once
constexpr int kTilesAhead = 3;
constexpr int kFaceThreads = 128;

__device__ __forceinline__ float as_float(float x) { return x; }
__device__ __forceinline__ float as_float(__half x) { return __half2float(x); }

// Images whose sums a thread holds, and the stride of the weights of one basis, a multiple of 16 bytes. A block has
// kGaussianGroups times 32 Gaussians: more than one where there are few images, so that its warps have something to
// pose.
template <int kGroup>
struct PoseMemory {
  static constexpr int kStride = (kGroup + 3) / 4 * 4;
  static constexpr int kGaussianGroups = kGroup == 1 ? 5 : kGroup <= 4 ? 2 : 1;
  float* blended;  // [kGaussianGroups, kGroup, kPoseThreads]
  float* weights;  // [K, kStride]
  static std::size_t bytes(std::int64_t bases) {
    return (static_cast<std::size_t>(kGaussianGroups) * kGroup * kPoseThreads + bases * kStride) * sizeof(float);
  }
  __device__ explicit PoseMemory(float4* storage)
      : blended(reinterpret_cast<float*>(storage)), weights(blended + kGaussianGroups * kGroup * kPoseThreads) {}
};

template <int kGroup>
__device__ __forceinline__ void load_weights(const PoseArguments& a, std::int64_t first, float* weights) {
  constexpr int kStride = PoseMemory<kGroup>::kStride;
  const int count = static_cast<int>(a.sizes.bases) * kStride;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kPoseThreads) {
    const std::int64_t image = first + i % kStride;
    const bool exists = i % kStride < kGroup && image < a.sizes.images;
    weights[i] = exists ? a.weights[(a.sizes.first_image + image) * a.sizes.bases + i / kStride] : 0.0f;
  }
}

// One number of one Gaussian, for all images of the group: each basis is read once (Eq. 3 of RGBAvatar). block: 32
// Gaussians; to: [kGroup, kPoseThreads].
template <typename Basis, int kGroup>
__device__ __forceinline__ void blend_number(const PoseArguments& a, std::int64_t block,
                                             const PoseMemory<kGroup>& memory, float* to) {
  const BlendedNumber number = blended_number(block, a.sizes.gaussians);
  float sums[kGroup];
  const float base = number.exists ? a.avatar.base[number.part][number.index] : 0.0f;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) sums[i] = base;
  if (number.exists) {
    const auto* basis = static_cast<const Basis*>(a.avatar.basis[number.part]) + number.index;
    const std::int64_t stride = a.sizes.gaussians * part_width(number.part);
    const int bases = static_cast<int>(a.sizes.bases);
#pragma unroll kBasesAhead
    for (int k = 0; k < bases; ++k) {
      const float offset = as_float(basis[k * stride]);
      const auto* weights = reinterpret_cast<const float4*>(memory.weights + k * PoseMemory<kGroup>::kStride);
#pragma unroll
      for (int i = 0; i < kGroup; i += 4) {
        const float4 w = weights[i / 4];
        sums[i] += w.x * offset;
        if (i + 1 < kGroup) sums[i + 1] += w.y * offset;
        if (i + 2 < kGroup) sums[i + 2] += w.z * offset;
        if (i + 3 < kGroup) sums[i + 3] += w.w * offset;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kGroup; ++i) to[i * kPoseThreads + threadIdx.x] = sums[i];
}

__device__ __forceinline__ Vec3<float> color_of(Vec3<float> sh) {
  return {larger(0.0f, 0.5f + kHarmonic * sh.x), larger(0.0f, 0.5f + kHarmonic * sh.y),
          larger(0.0f, 0.5f + kHarmonic * sh.z)};
}

// blended: the image's numbers of the block's Gaussians.
__device__ __forceinline__ Gaussian<float> activate(const PoseArguments& a, const float* blended, int lane,
                                                    std::int64_t gaussian) {
  Gaussian<float> g;
  g.mean = load_vec3(blended + 3 * lane);
  const float4 rotation = reinterpret_cast<const float4*>(blended + 3 * kGaussiansPerBlock)[lane];
  g.rotation = {rotation.x, rotation.y, rotation.z, rotation.w};
  g.color = color_of(load_vec3(blended + 7 * kGaussiansPerBlock + 3 * lane));
  const Vec3<float> s = load_vec3(a.avatar.log_scale + 3 * gaussian);
  g.scale = {expf(s.x), expf(s.y), expf(s.z)};
  g.opacity = 1.0f / (1.0f + expf(-a.avatar.opacity_logit[gaussian]));
  return g;
}

// All lanes take part, also those without a visible splat.
__device__ __forceinline__ void count_pairs(const PoseArguments& a, std::int64_t splat, bool is_visible,
                                            std::int64_t image, int lane) {
  const Grid grid = grid_of(a.sizes.width, a.sizes.height);
  std::int32_t* tile_pairs = a.lists.tile_pairs + image * grid.tiles();
  TileWalk walk(a.lists.splats + splat, is_visible, a.sizes);
  for (std::int32_t tile = walk.next(grid.columns); __any_sync(kAllLanes, tile >= 0); tile = walk.next(grid.columns)) {
    const TileMates mates = find_mates(tile, lane);
    if (tile >= 0 && mates.rank == 0) atomicAdd(tile_pairs + tile, mates.total);
  }
  visit_shared(a.lists.splats, static_cast<std::int32_t>(splat), walk.is_shared(), a.sizes, lane,
               [&](int, std::int32_t tile) { atomicAdd(tile_pairs + tile, 1); });
}

// Writes the splat, and returns whether it is visible.
__device__ __forceinline__ bool pose_gaussian(const PoseArguments& a, const float* blended, std::int64_t image,
                                              std::int64_t gaussian, int lane) {
  const std::int64_t row = a.state->row, i = image * a.sizes.gaussians + gaussian;
  Gaussian<float> g = activate(a, blended, lane, gaussian);
  if (a.lists.rotations) a.lists.rotations[i] = make_float4(g.rotation.w, g.rotation.x, g.rotation.y, g.rotation.z);
  const BoundTriangle face = load_face(face_of(a.lists.faces, a.mesh.faces, image, a.mesh.face_ids[gaussian]));
  const Vec3<float> barycentric = load_vec3(a.mesh.barycentrics + 3 * gaussian);
  g.mean = bind_mean(face.frame, anchor_point(face.v0, face.v1, face.v2, barycentric), g.mean);
  g.rotation = bind_rotation(face.frame, g.rotation);
  const bool is_drawable = is_valid(g);
  if (!is_drawable) atomicAdd(a.num_invalid + row, 1);
  Splat<float> splat{};
  const bool is_visible =
      is_drawable && project(g, camera_of(a.frames, a.sizes, row, image), splat);
  store_splat(splat, a.lists.splats + i);
  if (is_visible && a.lists.moments)
    for (int j = 0; j < 3; ++j) a.lists.moments[3 * i + j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  return is_visible;
}

__global__ void __launch_bounds__(kFaceThreads) pose_faces_kernel(const PoseArguments a) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kFaceThreads + threadIdx.x;
  if (a.state->overflow != 0 || i >= a.sizes.images * a.mesh.faces) return;
  const std::int64_t image = i / a.mesh.faces;
  BoundTriangle face;
  const float nan = __int_as_float(0x7fffffff);
  if (!find_face(a.mesh, slot_of(a.frames, a.sizes, a.state->row, image), i % a.mesh.faces, face))
    face.v0 = {nan, nan, nan};  // its Gaussians are then invalid
  store_face(face, a.lists.faces + kFaceVectors * i);
}

// A block blends the numbers of 32 Gaussians at a time, one thread each, and then poses them, one warp for those of one
// image.
template <typename Basis, int kGroup>
__global__ void __launch_bounds__(kPoseThreads, 3) pose_kernel(const PoseArguments a) {
  extern __shared__ float4 storage[];
  using Memory = PoseMemory<kGroup>;
  const Memory memory(storage);
  if (a.state->overflow != 0) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const std::int64_t first_block = static_cast<std::int64_t>(blockIdx.x) * Memory::kGaussianGroups;
  for (std::int64_t first = 0; first < a.sizes.images; first += kGroup) {
    if (first != 0) __syncthreads();
    load_weights<kGroup>(a, first, memory.weights);
    __syncthreads();
#pragma unroll
    for (int group = 0; group < Memory::kGaussianGroups; ++group)
      blend_number<Basis, kGroup>(a, first_block + group, memory, memory.blended + group * kGroup * kPoseThreads);
    __syncthreads();
    const int count = static_cast<int>(smaller<std::int64_t>(kGroup, a.sizes.images - first));
    for (int i = warp; i < kGroup * Memory::kGaussianGroups; i += kWarps) {
      const std::int64_t image = first + i % kGroup;
      const std::int64_t gaussian = (first_block + i / kGroup) * kGaussiansPerBlock + lane;
      if (i % kGroup >= count) continue;
      const bool is_visible =
          gaussian < a.sizes.gaussians && pose_gaussian(a, memory.blended + i * kPoseThreads, image, gaussian, lane);
      count_pairs(a, image * a.sizes.gaussians + gaussian, is_visible, image, lane);
    }
  }
}

struct SharedKey {
  std::uint64_t key;
  std::int32_t first_tile;  // of the splat's image
};

// Every pair to a place of its tile; which one depends on the order of threads, and the sort undoes that.
__global__ void __launch_bounds__(kPlaceThreads) place_pairs_kernel(const PoseArguments a) {
  __shared__ SharedKey keys_of_lanes[kPlaceThreads / kWarpSize][kWarpSize];
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kPlaceThreads + threadIdx.x;
  const std::int64_t pairs = a.lists.tile_begin[a.sizes.tiles()];
  if (a.state->overflow != 0) return;
  if (i == 0) a.state->pairs = larger(a.state->pairs, pairs);
  if (pairs > a.sizes.capacity) {
    if (i == 0) a.state->overflow = pairs;  // the other threads find out by themselves
    return;
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const Splat<float>* splat = a.lists.splats + i;
  const bool is_visible = i < a.sizes.splats() && splat->opacity != 0.0f;
  const std::int64_t image = static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(a.sizes.gaussians);
  std::uint64_t key = 0;
  if (is_visible) {
    const bool unseen = a.seen != nullptr && !a.seen[i - image * a.sizes.gaussians];
    key = static_cast<std::uint64_t>(__float_as_uint(splat->depth)) << 32 |
          static_cast<std::uint32_t>(2 * i + (unseen ? 1 : 0));
  }
  const Grid grid = grid_of(a.sizes.width, a.sizes.height);
  const auto first_tile = static_cast<std::int32_t>(image * grid.tiles());  // a warp may have splats of two images
  keys_of_lanes[threadIdx.x / kWarpSize][lane] = {key, first_tile};
  __syncwarp();
  TileWalk walk(splat, is_visible, a.sizes);
  std::int32_t tiles[kTilesAhead], left[kTilesAhead];
  TileMates mates[kTilesAhead];
  do {  // several at once: an atomic that answers takes long
#pragma unroll
    for (int j = 0; j < kTilesAhead; ++j) {
      const std::int32_t tile = walk.next(grid.columns);
      tiles[j] = tile < 0 ? -1 : first_tile + tile;
      mates[j] = find_mates(tiles[j], lane);
      left[j] = 0;
      if (tiles[j] >= 0 && mates[j].rank == 0) left[j] = atomicSub(a.lists.tile_pairs + tiles[j], mates[j].total);
    }
#pragma unroll
    for (int j = 0; j < kTilesAhead; ++j) {
      const std::int32_t place = __shfl_sync(kAllLanes, left[j], mates[j].first) - 1 - mates[j].rank;
      if (tiles[j] >= 0 && place >= 0) a.lists.keys[a.lists.tile_begin[tiles[j]] + place] = key;
    }
  } while (__any_sync(kAllLanes, tiles[kTilesAhead - 1] >= 0));
  visit_shared(a.lists.splats, static_cast<std::int32_t>(i), walk.is_shared(), a.sizes, lane,
               [&](int source, std::int32_t tile_of_image) {
                 const SharedKey shared = keys_of_lanes[threadIdx.x / kWarpSize][source];
                 const std::int32_t tile = shared.first_tile + tile_of_image;
                 const std::int32_t place = atomicSub(a.lists.tile_pairs + tile, 1) - 1;
                 if (place >= 0) a.lists.keys[a.lists.tile_begin[tile] + place] = shared.key;
               });
}

template <typename Basis, int kGroup>
void launch_pose(const PoseArguments& a, cudaStream_t stream) {
  const std::size_t bytes = PoseMemory<kGroup>::bytes(a.sizes.bases);
  allow_shared_memory(pose_kernel<Basis, kGroup>, bytes);
  pose_kernel<Basis, kGroup><<<blocks_for(a.sizes.gaussians, PoseMemory<kGroup>::kGaussianGroups * kGaussiansPerBlock),
                               kPoseThreads, bytes, stream>>>(a);
  check_launch("pose");
}

template <typename Basis>
void pose_in_groups(const PoseArguments& a, cudaStream_t stream) {
  if (a.sizes.images == 1) return launch_pose<Basis, 1>(a, stream);
  if (a.sizes.images <= 4) return launch_pose<Basis, 4>(a, stream);
  if (a.sizes.images <= 10) return launch_pose<Basis, 10>(a, stream);
  launch_pose<Basis, 16>(a, stream);
}

}  // namespace

std::size_t scan_bytes(std::int64_t tiles) {
  std::size_t bytes = 0;
  std::int32_t* values = nullptr;
  check(cub::DeviceScan::ExclusiveSum(nullptr, bytes, values, values, tiles + 1), "prefix sum");
  return bytes;
}

void pose_faces(const PoseArguments& a, cudaStream_t stream) {
  pose_faces_kernel<<<blocks_for(a.sizes.images * a.mesh.faces, kFaceThreads), kFaceThreads, 0, stream>>>(a);
  check_launch("pose_faces");
}

void pose(const PoseArguments& a, bool half_bases, cudaStream_t stream) {
  const std::int64_t tiles = a.sizes.tiles();
  check(cudaMemsetAsync(a.lists.tile_pairs, 0, (tiles + 1) * sizeof(std::int32_t), stream), "clearing the tiles");
  half_bases ? pose_in_groups<__half>(a, stream) : pose_in_groups<float>(a, stream);
  std::size_t bytes = a.lists.scan_bytes;
  check(cub::DeviceScan::ExclusiveSum(a.lists.scan_storage, bytes, a.lists.tile_pairs, a.lists.tile_begin, tiles + 1,
                                      stream),
        "prefix sum");
}

void place_pairs(const PoseArguments& a, cudaStream_t stream) {
  place_pairs_kernel<<<blocks_for(a.sizes.splats(), kPlaceThreads), kPlaceThreads, 0, stream>>>(a);
  check_launch("place_pairs");
}

}  // namespace gaussian_rasterization::cuda::fused
