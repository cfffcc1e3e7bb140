// A tile of 16x16 pixels is one block of threads, and each of its 8 warps a rectangle of 8x4 pixels: splats are a few
// pixels wide, so most of a tile's splats miss most of its warps, and a warp asks first (splats_reaching_warp).
#pragma once

#include "../core/ellipse.h"
#include "bins.h"
#include "splat_memory.cuh"
#include "warp_sum.cuh"

namespace gaussian_rasterization::cuda {

inline constexpr int kTileThreads = kTileSize * kTileSize;
inline constexpr int kWarps = kTileThreads / kWarpSize;
inline constexpr int kWarpWidth = 8, kWarpHeight = 4;
inline constexpr int kWarpsPerRow = kTileSize / kWarpWidth;
static_assert(kWarpWidth * kWarpHeight == kWarpSize && kTileSize % kWarpWidth == 0 && kTileSize % kWarpHeight == 0);

__device__ __forceinline__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % kWarpSize; }
__device__ __forceinline__ int warp_of_thread() { return static_cast<int>(threadIdx.x) / kWarpSize; }

// The pixel of a thread.
struct TilePixel {
  std::int32_t image;
  float x, y;            // whole numbers
  float warp_x, warp_y;  // first pixel of the warp's rectangle
  float tile_x, tile_y;  // first pixel of the tile
  bool inside;           // of the image
  std::int64_t index;    // y width + x; 0 outside
};

// tile: its number in the batch.
__device__ __forceinline__ TilePixel pixel_of_thread(std::uint32_t tile, std::int64_t width, std::int64_t height) {
  const Grid grid = grid_of(width, height);
  const auto tiles = static_cast<std::uint32_t>(grid.tiles()), columns = static_cast<std::uint32_t>(grid.columns);
  const std::uint32_t image = tile / tiles, row = tile % tiles / columns, column = tile % tiles % columns;
  const int warp = warp_of_thread(), lane = lane_of_thread();
  const std::int32_t warp_x = column * kTileSize + warp % kWarpsPerRow * kWarpWidth,
                     warp_y = row * kTileSize + warp / kWarpsPerRow * kWarpHeight;
  const std::int32_t x = warp_x + lane % kWarpWidth, y = warp_y + lane / kWarpWidth;
  const bool inside = x < width && y < height;
  return {static_cast<std::int32_t>(image),
          static_cast<float>(x),
          static_cast<float>(y),
          static_cast<float>(warp_x),
          static_cast<float>(warp_y),
          static_cast<float>(column * kTileSize),
          static_cast<float>(row * kTileSize),
          inside,
          inside ? y * width + x : 0};
}

// Splats that a block looks at together, in shared memory.
template <int kSize>
struct SplatBatch {
  alignas(16) Splat<float> splats[kSize];
  std::int32_t slots[kSize];
};

// Loads entries [0, count), count <= kSize. All threads of the block take part; synchronising is the caller's.
template <int kSize>
__device__ __forceinline__ void load_batch(SplatBatch<kSize>& batch, const Splat<float>* splats,
                                           const TileEntry* entries, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kTileThreads) {
    const TileEntry entry = entries[i];
    copy_splat(splats + entry.splat, batch.splats + i);
    batch.slots[i] = entry.slot;
  }
}

// Bit i: whether splat i reaches the warp's rectangle. Lane i answers for it; all lanes take part. i < count; more than
// 32 are ignored.
__device__ __forceinline__ unsigned splats_reaching_warp(const Splat<float>* splats, int count,
                                                         const TilePixel& pixel) {
  const int lane = lane_of_thread();
  const bool reached =
      lane < count && reaches_rectangle(ellipse_of(splats[lane]), pixel.warp_x, pixel.warp_x + (kWarpWidth - 1),
                                        pixel.warp_y, pixel.warp_y + (kWarpHeight - 1));
  return __ballot_sync(kAllLanes, reached);
}

// How far a pixel is.
struct PixelState {
  float transmittance;
  bool finished;  // from the start, outside the image
};

// One splat in one pixel.
struct PixelStep {
  Contribution<float> contribution;
  float transmittance;  // before the splat
  float share;          // alpha T where composited, else 0
  bool composited;
};

// Composites the splat and moves the state on: in the forward and in the backward sweep.
__device__ __forceinline__ PixelStep step_pixel(const Splat<float>& splat, const TilePixel& pixel, PixelState& state) {
  PixelStep step;
  step.contribution = contribution(splat, pixel.x, pixel.y);
  step.transmittance = state.transmittance;
  const float alpha = step.contribution.alpha;
  const Step decision = state.finished ? Step::kSkipped : decide(alpha, state.transmittance);
  step.composited = decision == Step::kComposited;
  step.share = step.composited ? alpha * state.transmittance : 0.0f;
  state.finished = state.finished || decision == Step::kFinished;
  if (step.composited) state.transmittance *= 1.0f - alpha;
  return step;
}

// Sums over a tile's pixels, for each splat of a batch, in shared memory: each warp leaves its own, and then they are
// added warp by warp.
template <int kFields, int kSize>
struct TileSums {
  float of_warp[kWarps][kSize][kFields];        // undefined where not written
  unsigned written[kWarps][kSize / kWarpSize];  // bit i of word j: whether the warp wrote splat 32 j + i
};

// Writes the batch's sums to their slots [pairs, kFields]. After a synchronisation; all threads of the block take part.
template <int kFields, int kSize>
__device__ __forceinline__ void store_sums(const TileSums<kFields, kSize>& sums, const SplatBatch<kSize>& batch,
                                           int count, float* slots) {
  for (int k = static_cast<int>(threadIdx.x); k < count * kFields; k += kTileThreads) {
    const int i = k / kFields, field = k % kFields;
    float total = 0.0f;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp)
      if (sums.written[warp][i / kWarpSize] >> (i % kWarpSize) & 1u) total += sums.of_warp[warp][i][field];
    slots[static_cast<std::int64_t>(batch.slots[i]) * kFields + field] = total;
  }
}

// The entries that a tile did not come to, because all its pixels were finished before: their sums are 0.
template <int kFields>
__device__ __forceinline__ void clear_slots(const TileEntry* entry, const TileEntry* end, float* slots) {
  const std::int64_t fields = (end - entry) * kFields;
  for (std::int64_t k = threadIdx.x; k < fields; k += kTileThreads)
    slots[static_cast<std::int64_t>(entry[k / kFields].slot) * kFields + k % kFields] = 0.0f;
}

}  // namespace gaussian_rasterization::cuda
