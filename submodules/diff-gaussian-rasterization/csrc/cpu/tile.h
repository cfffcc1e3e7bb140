// A tile of 16x16 pixels as 16 blocks of 4x4, a block being one set of lanes: splats are a few pixels wide, and square
// blocks waste fewer lanes on them than rows do. Lane i of block j is pixel (4 (j % 4) + i % 4, 4 (j / 4) + i / 4) of
// the tile.
#pragma once

#include "../core/ellipse.h"
#include "bins.h"
#include "lanes.h"

namespace gaussian_rasterization::cpu {

inline constexpr int kBlockSize = 4;
inline constexpr int kBlocks = 16;
inline constexpr int kTilePixels = kTileSize * kTileSize;
static_assert(kBlockSize * kBlockSize == kLanes && kBlocks * kLanes == kTilePixels);

// Offsets of a block's pixels from its first, and of a tile's blocks from its first pixel.
template <typename T>
struct BlockOffsets {
  alignas(64) T x[kLanes], y[kLanes], block_x[kLanes], block_y[kLanes];
  BlockOffsets() {
    for (int i = 0; i < kLanes; ++i) {
      x[i] = T(i % kBlockSize), y[i] = T(i / kBlockSize);
      block_x[i] = T(kBlockSize) * x[i], block_y[i] = T(kBlockSize) * y[i];
    }
  }
};

struct TilePlace {
  std::int64_t image, x, y;    // image, and first pixel
  std::int64_t width, height;  // of the image
};
inline TilePlace place_of_tile(std::int64_t tile, const Grid& grid, std::int64_t width, std::int64_t height) {
  const std::int64_t image = tile / grid.tiles(), in_image = tile % grid.tiles();
  return {image, in_image % grid.columns * kTileSize, in_image / grid.columns * kTileSize, width, height};
}

// f(pixel of the tile in block order, x, y) for those pixels that lie in the image.
template <typename F>
inline void for_each_pixel(const TilePlace& place, F f) {
  for (int p = 0; p < kTilePixels; ++p) {
    const int block = p / kLanes, lane = p % kLanes;
    const std::int64_t x = place.x + kBlockSize * (block % kBlockSize) + lane % kBlockSize;
    const std::int64_t y = place.y + kBlockSize * (block / kBlockSize) + lane / kBlockSize;
    if (x < place.width && y < place.height) f(p, x, y);
  }
}

// Transmittance of the tile's pixels. A pixel that is finished keeps its value with the sign turned; pixels outside the
// image are finished.
template <typename T>
struct Transmittance {
  alignas(64) T value[kTilePixels];
  unsigned open_blocks = 0;  // bit j: block j has a pixel that is not finished

  explicit Transmittance(const TilePlace& place) {
    for (T& v : value) v = T(-1);
    for_each_pixel(place,
                   [&](int p, std::int64_t, std::int64_t) { value[p] = T(1), open_blocks |= 1u << (p / kLanes); });
  }
};

// Bit j: whether the ellipse meets block j (see minimum_over_rectangle, of which this is 16 at once).
template <typename T>
inline unsigned blocks_reached(const Splat<T>& s, const TilePlace& place, const BlockOffsets<T>& offsets) {
  const Lanes<T> zero = broadcast(T(0)), extent = broadcast(T(kBlockSize - 1));
  const Lanes<T> left = load_lanes(offsets.block_x) + broadcast(T(place.x) - s.x), right = left + extent;
  const Lanes<T> top = load_lanes(offsets.block_y) + broadcast(T(place.y) - s.y), bottom = top + extent;
  const Lanes<T> near_x = smaller(larger(zero, left), right), near_y = smaller(larger(zero, top), bottom);
  const Lanes<T> side_y = smaller(larger(near_x * broadcast(-s.b / s.c), top), bottom);
  const Lanes<T> level_x = smaller(larger(near_y * broadcast(-s.b / s.a), left), right);
  const Lanes<T> a = broadcast(s.a), b = broadcast(T(2) * s.b), c = broadcast(s.c);
  const auto form = [&](const Lanes<T>& dx, const Lanes<T>& dy) {
    return multiply_add(dx, multiply_add(a, dx, b * dy), c * dy * dy);
  };
  const Lanes<T> excess = smaller(form(near_x, side_y), form(level_x, near_y)) - broadcast(cutoff_with_slack(s));
  return negative_lanes(excess);
}

// One splat in one block: what the forward and the backward sweep both compute, by the same instructions.
template <typename T>
struct BlockStep {
  Lanes<T> dx, dy;
  Lanes<T> unclamped;      // opacity exp(-1/2 d^T Q d)
  Lanes<T> remaining;      // 1 - alpha
  Lanes<T> transmittance;  // before the splat
  Lanes<T> share;          // alpha T where composited, else 0
  Mask<T> composited;
};

// Composites the splat over the block's pixels and moves their transmittance on; see decide() in core/compositing.h.
template <typename T>
inline BlockStep<T> step_block(const Splat<T>& s, const TilePlace& place, const BlockOffsets<T>& offsets, int block,
                               Transmittance<T>& state) {
  BlockStep<T> step;
  T* values = state.value + block * kLanes;
  step.dx = load_lanes(offsets.x) + broadcast(offsets.block_x[block] + (T(place.x) - s.x));
  step.dy = load_lanes(offsets.y) + broadcast(offsets.block_y[block] + (T(place.y) - s.y));
  const Lanes<T> form = multiply_add(step.dx, multiply_add(broadcast(s.a), step.dx, broadcast(T(2) * s.b) * step.dy),
                                     broadcast(s.c) * step.dy * step.dy);
  step.unclamped = broadcast(s.opacity) * exponential(broadcast(T(-0.5)) * form);
  const Lanes<T> alpha = smaller(step.unclamped, broadcast(T(kMaxAlpha)));
  step.remaining = broadcast(T(1)) - alpha;
  step.transmittance = load_lanes(values);
  const Lanes<T> next = step.transmittance * step.remaining;
  const Mask<T> seen = at_least(alpha, broadcast(T(kMinAlpha))),
                enough = at_least(next, broadcast(T(kMinTransmittance)));
  step.composited = seen & enough;
  step.share = select(step.composited, alpha * step.transmittance, broadcast(T(0)));
  const Lanes<T> finished = smaller(step.transmittance, -step.transmittance);
  const Lanes<T> moved = select(seen, select(enough, next, finished), step.transmittance);
  store_lanes(values, moved);
  if (negative_lanes(moved) == (1u << kLanes) - 1) state.open_blocks &= ~(1u << block);
  return step;
}

}  // namespace gaussian_rasterization::cpu
