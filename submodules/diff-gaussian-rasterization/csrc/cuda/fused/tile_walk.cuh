// The tiles of a warp's splats, one a lane. Most splats reach a few tiles, which their lane finds; one that reaches
// many is shared out among the warp, or its lane would keep the others waiting.
#pragma once

#include "../tile_ranges.cuh"
#include "../warp_sum.cuh"
#include "arguments.h"

namespace gaussian_rasterization::cuda::fused {
namespace {

constexpr int kMostRowsAlone = 3;
constexpr float kMostWidthAlone = 2.5f * kTileSize;  // pixels: at most four columns

// Walks through the tiles of a splat, row by row; those of a splat that is to be shared out are left.
class TileWalk {
 public:
  __device__ __forceinline__ TileWalk(const Splat<float>* splat, bool is_visible, const Sizes& sizes)
      : width_(static_cast<std::int32_t>(sizes.width)), height_(static_cast<std::int32_t>(sizes.height)) {
    if (!is_visible) return;
    ellipse_ = stored_ellipse(splat);
    rows_ = tile_rows_of(ellipse_, height_);
    if (is_empty(rows_)) return;
    is_shared_ = rows_.last - rows_.first >= kMostRowsAlone || 2.0f * ellipse_.half_width > kMostWidthAlone;
    if (is_shared_)
      rows_ = {0, -1};
    else
      columns_ = tile_columns_of(ellipse_, rows_.first, width_, height_);
  }
  __device__ __forceinline__ bool is_shared() const { return is_shared_; }
  // The next tile of the image; -1 at the end.
  __device__ __forceinline__ std::int32_t next(std::int32_t grid_columns) {
    while (columns_.first > columns_.last) {
      if (++rows_.first > rows_.last) return -1;
      columns_ = tile_columns_of(ellipse_, rows_.first, width_, height_);
    }
    return rows_.first * grid_columns + columns_.first++;
  }

 private:
  Ellipse<float> ellipse_{};
  std::int32_t width_, height_;
  Range rows_{0, -1}, columns_{0, -1};
  bool is_shared_ = false;
};

// Calls visit(lane of the splat, tile) for each tile of the splats that are shared, each lane for rows of its own.
// splat: the number of this lane's. All lanes take part.
template <typename Visit>
__device__ __forceinline__ void visit_shared(const Splat<float>* splats, std::int32_t splat, bool is_shared,
                                             const Sizes& sizes, int lane, Visit visit) {
  const auto width = static_cast<std::int32_t>(sizes.width), height = static_cast<std::int32_t>(sizes.height);
  const std::int32_t grid_columns = grid_of(width, height).columns;
  __syncwarp();  // what other lanes stored of their splats is then there
  for (unsigned shared = __ballot_sync(kAllLanes, is_shared); shared != 0; shared &= shared - 1) {
    const int source = __ffs(shared) - 1;
    const Ellipse<float> ellipse = stored_ellipse(splats + __shfl_sync(kAllLanes, splat, source));
    const Range rows = tile_rows_of(ellipse, height);
    for (std::int32_t row = rows.first + lane; row <= rows.last; row += kWarpSize) {
      const Range columns = tile_columns_of(ellipse, row, width, height);
      for (std::int32_t column = columns.first; column <= columns.last; ++column)
        visit(source, row * grid_columns + column);
    }
    __syncwarp();
  }
}

// Neighbours on the head share tiles: the lanes of one tile change its counter together. All lanes take part.
struct TileMates {
  int total;  // lanes of the same tile
  int first;  // the lowest of them
  int rank;   // how many come before this one
};
__device__ __forceinline__ TileMates find_mates(std::int32_t tile, int lane) {
  const unsigned same = __match_any_sync(kAllLanes, tile);
  return {__popc(same), __ffs(same) - 1, __popc(same & ((1u << lane) - 1u))};
}

}  // namespace
}  // namespace gaussian_rasterization::cuda::fused
