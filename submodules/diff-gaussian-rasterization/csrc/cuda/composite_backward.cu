#include "composite.h"
#include "tile.cuh"

namespace gaussian_rasterization::cuda {
namespace {

constexpr int kBatch = 64;  // a batch's moments of 8 warps, 18 KiB, must fit beside it
constexpr int kGatherThreads = 128;
constexpr std::int64_t kMaxGridRows = 65535;

// Gradients to a pixel, and what the splats still to come contribute to the loss's linear form (see alpha_gradient()).
struct PixelGradient {
  float red = 0.0f, green = 0.0f, blue = 0.0f, alpha = 0.0f, rest = 0.0f;
};

__device__ __forceinline__ PixelGradient load_gradient(const CompositeBackwardArguments& a, const TilePixel& pixel) {
  if (!pixel.inside) return {};
  const std::int64_t plane = a.scene.width * a.scene.height, i = plane * pixel.image + pixel.index;
  const float* color = a.gradients.color + i + 2 * plane * pixel.image;
  const float* grad_color = a.gradients.grad_color + i + 2 * plane * pixel.image;
  PixelGradient g{grad_color[0], grad_color[plane], grad_color[2 * plane], a.gradients.grad_alpha[i], 0.0f};
  g.rest = color[0] * g.red + color[plane] * g.green + color[2 * plane] * g.blue + a.gradients.alpha[i] * g.alpha;
  return g;
}

// What one pixel adds to a splat's moments, in the order of SplatMoments; takes the splat's part away from the rest.
__device__ __forceinline__ void pixel_moments(const Splat<float>& splat, const TilePixel& pixel, const PixelStep& step,
                                              PixelGradient& g, float (&moments)[kMomentFields]) {
  const float channel = splat.red * g.red + (splat.green * g.green + (splat.blue * g.blue + g.alpha));
  g.rest -= step.share * channel;
  const float grad_alpha = alpha_gradient(step.contribution.alpha, step.transmittance, channel, g.rest);
  const float w = step.composited ? step.contribution.unclamped * grad_alpha : 0.0f;
  const float dx = pixel.x - splat.x, dy = pixel.y - splat.y, wx = w * dx, wy = w * dy;
  moments[0] = w, moments[1] = wx, moments[2] = wy;
  moments[3] = wx * dx, moments[4] = wx * dy, moments[5] = wy * dy;
  moments[6] = step.share * g.red, moments[7] = step.share * g.green, moments[8] = step.share * g.blue;
}

// Front to back, as the forward sweep went; leaves the moments of every pair in its slot. One block for each tile of
// the batch.
__global__ void __launch_bounds__(kTileThreads) sweep_moments_kernel(const CompositeBackwardArguments a) {
  __shared__ SplatBatch<kBatch> batch;
  __shared__ TileSums<kMomentFields, kBatch> sums;
  const TilePixel pixel = pixel_of_thread(blockIdx.x, a.scene.width, a.scene.height);
  const int lane = lane_of_thread(), warp = warp_of_thread(), field = field_of_lane<kMomentFields>(lane);
  PixelGradient gradient = load_gradient(a, pixel);
  PixelState state{1.0f, !pixel.inside};
  const TileEntry* entry = a.bins.entries + a.bins.tile_begin[blockIdx.x];
  const TileEntry* end = a.bins.entries + a.bins.tile_begin[blockIdx.x + 1];
  // The vote also waits for all to be done with the last batch and its sums.
  for (; entry < end && __syncthreads_count(!state.finished) != 0; entry += kBatch) {
    const int count = static_cast<int>(smaller<std::int64_t>(kBatch, end - entry));
    load_batch(batch, a.splats, entry, count);
    __syncthreads();
    for (int first = 0; first < kBatch; first += kWarpSize) {
      unsigned written = 0, reached = splats_reaching_warp(batch.splats + first, count - first, pixel);
      if (__all_sync(kAllLanes, state.finished)) reached = 0;
      for (; reached != 0; reached &= reached - 1) {
        const int i = first + __ffs(reached) - 1;
        const PixelStep step = step_pixel(batch.splats[i], pixel, state);
        if (!__any_sync(kAllLanes, step.composited)) continue;
        float moments[kMomentFields];
        pixel_moments(batch.splats[i], pixel, step, gradient, moments);
        const float total = sum_over_lanes<kMomentFields>(moments, lane);
        if (field >= 0) sums.of_warp[warp][i][field] = total;
        written |= 1u << (i - first);
      }
      if (lane == 0) sums.written[warp][first / kWarpSize] = written;
    }
    __syncthreads();
    store_sums(sums, batch, count, a.slots);
  }
  clear_slots<kMomentFields>(entry, end, a.slots);
}

__device__ SplatMoments<float> add_slots(const SplatMoments<float>* slot, const SplatMoments<float>* end) {
  SplatMoments<float> total{};
  for (; slot != end; ++slot) {
    total.w += slot->w, total.wx += slot->wx, total.wy += slot->wy;
    total.wxx += slot->wxx, total.wxy += slot->wxy, total.wyy += slot->wyy;
    total.red += slot->red, total.green += slot->green, total.blue += slot->blue;
  }
  return total;
}

// From the slots to the Gaussians. What is common to the batch is summed image by image, by the one thread that has
// them all.
__global__ void __launch_bounds__(kGatherThreads) project_backward_kernel(const CompositeBackwardArguments a) {
  const SceneArguments<float>& scene = a.scene;
  const std::int64_t gaussian = static_cast<std::int64_t>(blockIdx.x) * kGatherThreads + threadIdx.x;
  if (gaussian >= scene.gaussians) return;
  const auto* slots = reinterpret_cast<const SplatMoments<float>*>(a.slots);
  Vec3<float> scale{};
  float opacity = 0.0f;
  for (std::int64_t image = blockIdx.y; image < scene.images; image += gridDim.y) {
    const std::int64_t i = image * scene.gaussians + gaussian;
    const std::int32_t begin = a.bins.slot_begin[i], end = a.bins.slot_begin[i + 1];
    GaussianGradient<float> g{};
    if (begin != end)
      g = project_vjp(load_gaussian(scene, image, gaussian), load_camera(scene, image),
                      add_slots(slots + begin, slots + end));
    store_vec3(a.gradients.grad_means + 3 * i, g.mean);
    store_quaternion(a.gradients.grad_rotations + 4 * i, g.rotation);
    store_vec3(a.gradients.grad_colors + 3 * i, g.color);
    if (scene.scale_batch_stride != 0) store_vec3(a.gradients.grad_scales + 3 * i, g.scale);
    if (scene.opacity_batch_stride != 0) a.gradients.grad_opacities[i] = g.opacity;
    scale = scale + g.scale, opacity += g.opacity;
  }
  if (scene.scale_batch_stride == 0) store_vec3(a.gradients.grad_scales + 3 * gaussian, scale);
  if (scene.opacity_batch_stride == 0) a.gradients.grad_opacities[gaussian] = opacity;
}

}  // namespace

void composite_backward(CompositeBackwardArguments a, std::int64_t pairs, const Allocate& allocate,
                        cudaStream_t stream) {
  const SceneArguments<float>& scene = a.scene;
  a.slots = allocate_array<float>(allocate, pairs * kMomentFields);
  if (pairs != 0) {
    const std::int64_t tiles = scene.images * grid_of(scene.width, scene.height).tiles();
    sweep_moments_kernel<<<static_cast<unsigned>(tiles), kTileThreads, 0, stream>>>(a);
    check_launch("sweep_moments");
  }
  if (scene.gaussians == 0) return;
  const bool each_image_alone = scene.images > 0 && scene.scale_batch_stride != 0 && scene.opacity_batch_stride != 0;
  const dim3 blocks(blocks_for(scene.gaussians, kGatherThreads),
                    static_cast<unsigned>(each_image_alone ? smaller(scene.images, kMaxGridRows) : 1));
  project_backward_kernel<<<blocks, kGatherThreads, 0, stream>>>(a);
  check_launch("project_backward");
}

}  // namespace gaussian_rasterization::cuda
