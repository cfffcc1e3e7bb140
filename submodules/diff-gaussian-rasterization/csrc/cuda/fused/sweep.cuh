// Sweeping a tile's list: the block's threads stage a batch of it in shared memory, a splat each, and ask at once which
// of the warps' 8x4 pixels the splat reaches; then each warp composites those that reach its own.
#pragma once

#include "../../core/swept_splat.h"
#include "../tile.cuh"
#include "arguments.h"

namespace gaussian_rasterization::cuda::fused {

inline constexpr int kChunk = kWarpSize;          // entries that one word of bits speaks of
inline constexpr int kStaged = 2 * kTileThreads;  // entries of a batch: most tiles have no more
inline constexpr int kChunks = kStaged / kChunk;  // of a batch

// In shared memory, as vectors that lie equally far apart, so that a warp reads a splat with three instructions and one
// address.
struct StagedSplats {
  float4 form[kStaged];           // x, y, a, b2
  float4 color[kStaged];          // c, opacity, red, green
  float4 rest[kStaged];           // blue; the entry's bits
  std::uint8_t reached[kStaged];  // bit i: by warp i
  static_assert(kWarps == 8, "a byte holds a bit for each warp");
};

struct StagedSplat {
  SweptSplat<float> splat;
  std::uint32_t entry;
};

__device__ __forceinline__ StagedSplat staged_splat(const StagedSplats& staged, int i) {
  const float4 form = staged.form[i], color = staged.color[i];
  const float2 rest = *reinterpret_cast<const float2*>(staged.rest + i);
  return {{form.x, form.y, form.z, form.w, color.x, color.y, color.z, color.w, rest.x}, __float_as_uint(rest.y)};
}

// All threads of the block take part; synchronising is the caller's. Returns whether one of the thread's splats has not
// been seen yet.
__device__ __forceinline__ bool stage(const Splat<float>* splats, const std::uint32_t* entries, int count,
                                      const TilePixel& pixel, StagedSplats& staged) {
  bool unseen = false;
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < kStaged; i += kTileThreads) {
    std::uint32_t reached = 0;
    if (i < count) {
      const std::uint32_t entry = entries[i];
      Splat<float> splat;
      copy_splat(splats + (entry >> 1), &splat);
      const SweptSplat<float> s = swept(splat);
      staged.form[i] = make_float4(s.x, s.y, s.a, s.b2);
      staged.color[i] = make_float4(s.c, s.opacity, s.red, s.green);
      *reinterpret_cast<float2*>(staged.rest + i) = make_float2(s.blue, __uint_as_float(entry));
      reached = parts_reached<kWarpWidth, kWarpHeight>(splat, pixel.tile_x, pixel.tile_y);
      unseen = unseen || (entry & 1u) != 0;
    }
    staged.reached[i] = static_cast<std::uint8_t>(reached);
  }
  return unseen;
}

// The entries of a chunk that reach the warp's pixels, a bit each, the first entry's highest: to find the highest bit
// takes one instruction, to find the lowest two.
__device__ __forceinline__ unsigned reached_in_chunk(const StagedSplats& staged, int chunk, int warp, int lane) {
  return __ballot_sync(kAllLanes, staged.reached[(chunk + 1) * kChunk - 1 - lane] >> warp & 1u);
}
__device__ __forceinline__ int highest_bit(unsigned bits) { return kWarpSize - 1 - __clz(bits); }
__device__ __forceinline__ int entry_of_bit(int chunk, int bit) { return (chunk + 1) * kChunk - 1 - bit; }

// How far a pixel is. `open` is the transmittance, and 0 once the pixel is finished, so that nothing passes any more;
// `left` is what the background gets.
struct OpenPixel {
  float open, left;
  __device__ __forceinline__ explicit OpenPixel(bool inside) : open(inside ? 1.0f : 0.0f), left(1.0f) {}
  __device__ __forceinline__ bool is_finished() const { return open == 0.0f; }
};

struct OpenStep {
  Contribution<float> contribution;
  float open;   // before the splat
  float share;  // alpha T where composited, else 0
  bool composited;
};

// Composites a splat and moves the pixel on, as decide() says.
__device__ __forceinline__ OpenStep step_open(const SweptSplat<float>& splat, float x, float y, OpenPixel& pixel) {
  OpenStep step;
  step.contribution = contribution(splat, x, y);
  step.open = pixel.open;
  const float alpha = step.contribution.alpha, next = pixel.open * (1.0f - alpha);
  const bool visible = alpha >= static_cast<float>(kMinAlpha);
  step.composited = visible && next >= static_cast<float>(kMinTransmittance);
  step.share = step.composited ? alpha * pixel.open : 0.0f;
  pixel.open = visible ? (step.composited ? next : 0.0f) : pixel.open;
  pixel.left = step.composited ? next : pixel.left;
  return step;
}

struct Canvas {
  float red = 0.0f, green = 0.0f, blue = 0.0f;
  __device__ __forceinline__ void add(const SweptSplat<float>& splat, float share) {
    red += share * splat.red, green += share * splat.green, blue += share * splat.blue;
  }
  __device__ __forceinline__ void close(const float* background, float left) {
    red += left * background[0], green += left * background[1], blue += left * background[2];
  }
};

}  // namespace gaussian_rasterization::cuda::fused
