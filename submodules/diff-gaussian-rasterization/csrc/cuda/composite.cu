#include "composite.h"
#include "tile.cuh"

namespace gaussian_rasterization::cuda {
namespace {

constexpr int kBatch = kTileThreads;  // one splat for each thread to load
constexpr int kSumBatch = 64;         // a batch's sums of 8 warps must fit beside it
constexpr int kGatherThreads = 128;

struct Canvas {
  float red = 0.0f, green = 0.0f, blue = 0.0f;

  __device__ __forceinline__ void add(const Splat<float>& splat, float share) {
    red += share * splat.red, green += share * splat.green, blue += share * splat.blue;
  }
};

__device__ __forceinline__ void write_pixel(const CompositeArguments& a, const TilePixel& pixel, const Canvas& canvas,
                                            float left) {
  if (!pixel.inside) return;
  const std::int64_t plane = a.scene.width * a.scene.height;
  float* color = a.images.color + 3 * plane * pixel.image + pixel.index;
  const float* background = a.scene.background + 3 * pixel.image;
  color[0] = canvas.red + left * background[0];
  color[plane] = canvas.green + left * background[1];
  color[2 * plane] = canvas.blue + left * background[2];
  a.images.alpha[plane * pixel.image + pixel.index] = 1.0f - left;
}

// One block for each tile of the batch.
__global__ void __launch_bounds__(kTileThreads) composite_kernel(const CompositeArguments a) {
  __shared__ SplatBatch<kBatch> batch;
  const TilePixel pixel = pixel_of_thread(blockIdx.x, a.scene.width, a.scene.height);
  PixelState state{1.0f, !pixel.inside};
  Canvas canvas;
  const TileEntry* entry = a.bins.entries + a.bins.tile_begin[blockIdx.x];
  const TileEntry* end = a.bins.entries + a.bins.tile_begin[blockIdx.x + 1];
  // The vote also waits for all to be done with the last batch.
  for (; entry < end && __syncthreads_count(!state.finished) != 0; entry += kBatch) {
    const int count = static_cast<int>(smaller<std::int64_t>(kBatch, end - entry));
    load_batch(batch, a.splats, entry, count);
    __syncthreads();
    for (int first = 0; first < count && !__all_sync(kAllLanes, state.finished); first += kWarpSize) {
      unsigned reached = splats_reaching_warp(batch.splats + first, count - first, pixel);
      for (; reached != 0; reached &= reached - 1) {
        const Splat<float>& splat = batch.splats[first + __ffs(reached) - 1];
        canvas.add(splat, step_pixel(splat, pixel, state).share);
      }
    }
  }
  write_pixel(a, pixel, canvas, state.transmittance);
}

// As above, and leaves in each pair's slot what its tile adds to the Gaussian's colour sum.
__global__ void __launch_bounds__(kTileThreads)
    composite_with_color_sums_kernel(const CompositeColorSumArguments arguments) {
  __shared__ SplatBatch<kSumBatch> batch;
  __shared__ bool unseen[kSumBatch];
  __shared__ TileSums<kColorSumFields, kSumBatch> sums;
  const CompositeArguments& a = arguments.composite;
  const TilePixel pixel = pixel_of_thread(blockIdx.x, a.scene.width, a.scene.height);
  const int lane = lane_of_thread(), warp = warp_of_thread(), field = field_of_lane<kColorSumFields>(lane);
  std::uint8_t target[4] = {};  // mask 0 outside the image: counts for nothing
  if (pixel.inside)
    for (int i = 0; i < 4; ++i)
      target[i] = arguments.sums.targets[4 * (a.scene.width * a.scene.height * pixel.image + pixel.index) + i];
  PixelState state{1.0f, !pixel.inside};
  Canvas canvas;
  const TileEntry* entry = a.bins.entries + a.bins.tile_begin[blockIdx.x];
  const TileEntry* end = a.bins.entries + a.bins.tile_begin[blockIdx.x + 1];
  for (; entry < end && __syncthreads_count(!state.finished) != 0; entry += kSumBatch) {
    const int count = static_cast<int>(smaller<std::int64_t>(kSumBatch, end - entry));
    load_batch(batch, a.splats, entry, count);
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kTileThreads)
      unseen[i] = arguments.sums.unseen[entry[i].splat - pixel.image * a.scene.gaussians];
    __syncthreads();
    for (int first = 0; first < kSumBatch; first += kWarpSize) {
      unsigned written = 0, reached = splats_reaching_warp(batch.splats + first, count - first, pixel);
      if (__all_sync(kAllLanes, state.finished)) reached = 0;
      for (; reached != 0; reached &= reached - 1) {
        const int i = first + __ffs(reached) - 1;
        const float share = step_pixel(batch.splats[i], pixel, state).share;
        canvas.add(batch.splats[i], share);
        ColorSum<float> sum{};
        if (unseen[i]) add_target(sum, target, share);
        if (!__any_sync(kAllLanes, sum.weight > 0.0f)) continue;
        float values[kColorSumFields] = {sum.red, sum.green, sum.blue, sum.weight};
        const float total = sum_over_lanes<kColorSumFields>(values, lane);
        if (field >= 0) sums.of_warp[warp][i][field] = total;
        written |= 1u << (i - first);
      }
      if (lane == 0) sums.written[warp][first / kWarpSize] = written;
    }
    __syncthreads();
    store_sums(sums, batch, count, arguments.slots);
  }
  clear_slots<kColorSumFields>(entry, end, arguments.slots);
  write_pixel(a, pixel, canvas, state.transmittance);
}

// Adds a Gaussian's slots, image by image, in order.
__global__ void __launch_bounds__(kGatherThreads) gather_color_sums_kernel(const CompositeColorSumArguments a) {
  const SceneArguments<float>& scene = a.composite.scene;
  const std::int64_t gaussian = static_cast<std::int64_t>(blockIdx.x) * kGatherThreads + threadIdx.x;
  if (gaussian >= scene.gaussians) return;
  float total[kColorSumFields] = {};
  for (std::int64_t image = 0; image < scene.images; ++image) {
    const std::int32_t* begin = a.composite.bins.slot_begin + image * scene.gaussians + gaussian;
    for (std::int64_t slot = begin[0]; slot < begin[1]; ++slot)
      for (int field = 0; field < kColorSumFields; ++field) total[field] += a.slots[slot * kColorSumFields + field];
  }
  store_vec3(a.sums.rgb + 3 * gaussian, Vec3<float>{total[0], total[1], total[2]});
  a.sums.weight[gaussian] = total[3];
}

unsigned tiles_of_batch(const SceneArguments<float>& scene) {
  return static_cast<unsigned>(scene.images * grid_of(scene.width, scene.height).tiles());
}

}  // namespace

void composite(const CompositeArguments& a, cudaStream_t stream) {
  const unsigned tiles = tiles_of_batch(a.scene);
  if (tiles == 0) return;
  composite_kernel<<<tiles, kTileThreads, 0, stream>>>(a);
  check_launch("composite");
}

void composite_with_color_sums(CompositeColorSumArguments a, std::int64_t pairs, const Allocate& allocate,
                               cudaStream_t stream) {
  a.slots = allocate_array<float>(allocate, pairs * kColorSumFields);
  const unsigned tiles = tiles_of_batch(a.composite.scene);
  if (tiles != 0) {
    composite_with_color_sums_kernel<<<tiles, kTileThreads, 0, stream>>>(a);
    check_launch("composite_with_color_sums");
  }
  if (a.composite.scene.gaussians == 0) return;
  gather_color_sums_kernel<<<blocks_for(a.composite.scene.gaussians, kGatherThreads), kGatherThreads, 0, stream>>>(a);
  check_launch("gather_color_sums");
}

}  // namespace gaussian_rasterization::cuda
