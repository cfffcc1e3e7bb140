// Forward sweep, loss and backward sweep of a tile in one kernel: the loss's gradient is known in registers when the
// forward sweep ends, so that no picture is written. The loss is L1 and, where it is asked for, structural similarity
// over blocks: the 8x4 pixels of a warp are one, for what a pixel needs to know of others must be near.
#include "../../core/color_sums.h"
#include "moments.cuh"
#include "schedule.cuh"
#include "sort.cuh"

namespace gaussian_rasterization::cuda::fused {
namespace {

union SweepMemory {
  SortMemory sort;
  struct {
    StagedSplats staged;
    MomentRows rows[kWarps];
  };
};

struct TileList {
  std::int32_t begin;
  int count;
  const std::uint32_t* entries;
  std::uint32_t* live;  // of this warp, one word a chunk, kWarps apart: what its pixels composited
};

__device__ __forceinline__ TileList list_of_tile(const SweepArguments& a, std::uint32_t tile) {
  const std::int32_t begin = a.lists.tile_begin[tile];
  return {begin, a.lists.tile_begin[tile + 1] - begin, a.lists.entries + begin,
          a.live + (static_cast<std::int64_t>(begin) / kChunk + tile) * kWarps + warp_of_thread()};
}

// What colour initialisation gathers from one splat in the warp's pixels.
// Only the first steps have any, so that it must not cost the others registers: not inlined.
__device__ __noinline__ void gather_color(float* color_sums, std::int64_t gaussians, std::int64_t gaussian, float share,
                                          uchar4 target) {
  const int lane = lane_of_thread();
  ColorSum<float> sum{};
  const std::uint8_t rgba[4] = {target.x, target.y, target.z, target.w};
  add_target(sum, rgba, share);
  if (!__any_sync(kAllLanes, sum.weight > 0.0f)) return;
  float values[kColorSumFields] = {sum.red, sum.green, sum.blue, sum.weight};
  const float total = sum_over_lanes<kColorSumFields>(values, lane);
  const int field = field_of_lane<kColorSumFields>(lane);
  if (field >= 0) atomicAdd(color_sums + (field < 3 ? 3 * gaussian + field : 3 * gaussians + gaussian), total);
}

// Composites the splats of a chunk whose bits are set; returns the bits of those that some pixel took.
template <bool kGathersColors>
__device__ __forceinline__ unsigned composite_chunk(const SweepArguments& a, const TilePixel& pixel, uchar4 target,
                                                    const StagedSplats& staged, int chunk, unsigned reached,
                                                    OpenPixel& state, Canvas& canvas) {
  unsigned live = 0;
  while (reached != 0) {
    const int bit = highest_bit(reached);
    const StagedSplat s = staged_splat(staged, entry_of_bit(chunk, bit));
    const OpenStep step = step_open(s.splat, pixel.x, pixel.y, state);
    canvas.add(s.splat, step.share);
    reached ^= 1u << bit;
    if (__any_sync(kAllLanes, step.composited)) live |= 1u << bit;
    if (kGathersColors && (s.entry & 1u))
      gather_color(a.color_sums, a.sizes.gaussians, (s.entry >> 1) - pixel.image * a.sizes.gaussians, step.share,
                   target);
  }
  return live;
}

// Composites the list; returns how much of it was looked at, in whole batches.
__device__ __forceinline__ int sweep_forward(const SweepArguments& a, const TileList& list, const TilePixel& pixel,
                                             uchar4 target, StagedSplats& staged, OpenPixel& state, Canvas& canvas) {
  const int lane = lane_of_thread(), warp = warp_of_thread();
  int first = 0;
  // The vote also waits for all to be done with the last batch.
  for (; first < list.count && __syncthreads_count(!state.is_finished()) != 0; first += kStaged) {
    const bool unseen = stage(a.lists.splats, list.entries + first, list.count - first, pixel, staged);
    const bool some_unseen = __syncthreads_or(unseen) != 0;
    for (int chunk = 0; chunk < kChunks && first + chunk * kChunk < list.count; ++chunk) {
      unsigned reached = reached_in_chunk(staged, chunk, warp, lane);
      if (__all_sync(kAllLanes, state.is_finished())) reached = 0;
      const unsigned live = some_unseen
                                ? composite_chunk<true>(a, pixel, target, staged, chunk, reached, state, canvas)
                                : composite_chunk<false>(a, pixel, target, staged, chunk, reached, state, canvas);
      if (lane == 0) list.live[(first / kChunk + chunk) * kWarps] = live;
    }
  }
  return first;
}

// The gradient of the loss to the pixel's colour, in units of that of sum |difference|, and what the splats still to
// come contribute to the loss's linear form (see alpha_gradient()).
struct PixelGradient {
  float red, green, blue, rest;
};

__device__ __forceinline__ float sign_of(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }

// The target over the background, as losses composite it.
__device__ __forceinline__ float over(std::uint8_t level, std::uint8_t mask, float background) {
  constexpr float kLevel = 1.0f / 255.0f;
  return (static_cast<float>(level) * kLevel - background) * (static_cast<float>(mask) * kLevel) + background;
}

// The sum over the warp's lanes, in all of them.
__device__ __forceinline__ float sum_for_all(float x) {
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) x += __shfl_xor_sync(kAllLanes, x, mask);
  return x;
}

struct Likeness {
  float value, slope;  // SSIM; how it changes with the pixel's colour, times the pixels of the block
};

// Structural similarity of a channel over the warp's 8x4 pixels as one block (Wang et al. 2004, eq. 13). share: 1 over
// those inside the image, and 0 for a pixel that is not. Deviations are taken from the means, for small variances.
__device__ __forceinline__ Likeness likeness(float ours, float theirs, float share) {
  constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;
  const float mean = sum_for_all(share * ours), target_mean = sum_for_all(share * theirs);
  const float x = ours - mean, y = theirs - target_mean;
  const float variances = sum_for_all(share * (x * x + y * y)), covariance = sum_for_all(share * x * y);
  const float a1 = 2.0f * mean * target_mean + kC1, a2 = 2.0f * covariance + kC2;
  const float b1 = mean * mean + target_mean * target_mean + kC1, b2 = variances + kC2;
  const float inverse = 1.0f / (b1 * b2), value = a1 * a2 * inverse;
  return {value, 2.0f * ((target_mean * a2 - mean * value * b2 + y * a1) * inverse - x * value / b2)};
}

// Adds to the gradient of sum |difference| that of `structure` times 1 - SSIM, summed over pixels and channels. Returns
// the pixel's 1 - SSIM, summed over channels. All lanes take part.
__device__ __forceinline__ float add_structure(float structure, bool inside, const Canvas& canvas, const float* target,
                                               PixelGradient& g) {
  const float share = 1.0f / static_cast<float>(larger(__popc(__ballot_sync(kAllLanes, inside)), 1));
  const float own = inside ? share : 0.0f;
  const Likeness red = likeness(canvas.red, target[0], own), green = likeness(canvas.green, target[1], own),
                 blue = likeness(canvas.blue, target[2], own);
  g.red = upper_bits(g.red - structure * red.slope), g.green = upper_bits(g.green - structure * green.slope);
  g.blue = upper_bits(g.blue - structure * blue.slope);
  return 3.0f - red.value - green.value - blue.value;
}

// Adds the warp's errors to the image's, and returns the gradient.
template <bool kHasStructure>
__device__ __forceinline__ PixelGradient loss_gradient(const SweepArguments& a, const TilePixel& pixel,
                                                       const Canvas& canvas, uchar4 target, const float* background,
                                                       std::int64_t row) {
  const float colors[3] = {over(target.x, target.w, background[0]), over(target.y, target.w, background[1]),
                           over(target.z, target.w, background[2])};
  const float red = canvas.red - colors[0], green = canvas.green - colors[1], blue = canvas.blue - colors[2];
  PixelGradient g{sign_of(red), sign_of(green), sign_of(blue), 0.0f};
  float errors[kErrors] = {fabsf(red) + fabsf(green) + fabsf(blue), red * red + green * green + blue * blue, 0.0f};
  if constexpr (kHasStructure) errors[2] = add_structure(a.structure, pixel.inside, canvas, colors, g);
  if (!pixel.inside) errors[0] = errors[1] = errors[2] = 0.0f;
  const int lane = lane_of_thread(), field = field_of_lane<kErrors>(lane);
  const float total = sum_over_lanes<kErrors>(errors, lane);
  if (field >= 0 && total != 0.0f) atomicAdd(a.errors + kErrors * (row * a.sizes.images + pixel.image) + field, total);
  if (!pixel.inside) return {};
  g.rest = canvas.red * g.red + canvas.green * g.green + canvas.blue * g.blue;
  return g;
}

// Front to back, as the forward sweep went, over the splats that it composited, down to `looked_at`.
__device__ __forceinline__ void sweep_backward(const SweepArguments& a, const TileList& list, int looked_at,
                                               const TilePixel& pixel, PixelGradient g, SweepMemory& memory) {
  const int lane = lane_of_thread();
  MomentRows& rows = memory.rows[warp_of_thread()];
  rows.gradient[0][lane] = g.red, rows.gradient[1][lane] = g.green, rows.gradient[2][lane] = g.blue;
  auto* moments = reinterpret_cast<float*>(a.lists.moments);
  const float middle_x = pixel.warp_x + kCentreX, middle_y = pixel.warp_y + kCentreY;
  OpenPixel state(pixel.inside);
  __syncwarp();  // the bits that the forward sweep's first lane left are then there for all
  int row = 0;
  std::uint32_t splat_of_row = 0;
  float centre_x = 0.0f, centre_y = 0.0f;
  for (int first = 0; first < looked_at; first += kStaged) {
    if (looked_at > kStaged) {  // otherwise the batch is still there
      __syncthreads();
      stage(a.lists.splats, list.entries + first, list.count - first, pixel, memory.staged);
      __syncthreads();
    }
    for (int chunk = 0; chunk < kChunks && first + chunk * kChunk < list.count; ++chunk) {
      unsigned live = list.live[(first / kChunk + chunk) * kWarps];
      while (live != 0) {
        const int bit = highest_bit(live);
        live ^= 1u << bit;
        const StagedSplat s = staged_splat(memory.staged, entry_of_bit(chunk, bit));
        const OpenStep step = step_open(s.splat, pixel.x, pixel.y, state);
        const float channel = s.splat.red * g.red + s.splat.green * g.green + s.splat.blue * g.blue;
        g.rest -= step.share * channel;
        const float grad_alpha = alpha_gradient(step.contribution.alpha, step.open, channel, g.rest);
        rows.w[row][lane] = step.composited ? step.contribution.unclamped * grad_alpha : 0.0f;
        rows.share[row][lane] = step.share;
        if (lane == row) {
          splat_of_row = s.entry >> 1, centre_x = s.splat.x - middle_x, centre_y = s.splat.y - middle_y;
        }
        if (++row < kRows) continue;
        flush_rows(rows, row, splat_of_row, centre_x, centre_y, lane, moments);
        row = 0;
      }
    }
  }
  if (row > 0) flush_rows(rows, row, splat_of_row, centre_x, centre_y, lane, moments);
}

// One block for each tile of the batch.
template <bool kHasStructure>
__global__ void __launch_bounds__(kTileThreads, 4) sweep_loss_kernel(const SweepArguments a) {
  extern __shared__ float4 storage[];
  SweepMemory& memory = *reinterpret_cast<SweepMemory*>(storage);
  if (a.state->overflow != 0) return;
  const std::int64_t row = a.state->row;
  const std::uint32_t tile = a.lists.tile_order[blockIdx.x];
  const TilePixel pixel = pixel_of_thread(tile, a.sizes.width, a.sizes.height);
  const std::int64_t pixels = a.sizes.width * a.sizes.height, slot = slot_of(a.frames, a.sizes, row, pixel.image);
  uchar4 target = make_uchar4(0, 0, 0, 0);  // mask 0 outside the image: counts for nothing
  if (pixel.inside) target = reinterpret_cast<const uchar4*>(a.frames.images)[pixels * slot + pixel.index];
  const float* background = background_of(a.frames, a.sizes, row, pixel.image);
  const TileList list = list_of_tile(a, tile);
  if (list.count > 0) sort_tile(memory.sort, a.lists.keys + list.begin, list.count, a.lists.entries + list.begin);
  OpenPixel state(pixel.inside);
  Canvas canvas;
  const int looked_at = sweep_forward(a, list, pixel, target, memory.staged, state, canvas);
  canvas.close(background, state.left);
  const PixelGradient gradient = loss_gradient<kHasStructure>(a, pixel, canvas, target, background, row);
  sweep_backward(a, list, looked_at, pixel, gradient, memory);
}

}  // namespace

std::int64_t live_words(const Sizes& sizes) { return (sizes.capacity / kChunk + sizes.tiles() + 1) * kWarps; }

void sweep_loss(const SweepArguments& a, cudaStream_t stream) {
  if (a.color_sums)
    check(cudaMemsetAsync(a.color_sums, 0, 4 * a.sizes.gaussians * sizeof(float), stream), "clearing the colour sums");
  const auto kernel = a.structure > 0.0f ? sweep_loss_kernel<true> : sweep_loss_kernel<false>;
  allow_shared_memory(kernel, sizeof(SweepMemory));
  kernel<<<static_cast<unsigned>(a.sizes.tiles()), kTileThreads, sizeof(SweepMemory), stream>>>(a);
  check_launch("sweep_loss");
}

}  // namespace gaussian_rasterization::cuda::fused
