// Which splats each tile composites, front to back.
//
// Tiles of one image are numbered row by row. Every (splat, tile) pair has a slot: the pairs of one image are numbered
// Gaussian by Gaussian, and those of one Gaussian tile by tile. A sweep over tiles leaves its result for a pair in the
// pair's slot, and each Gaussian then adds up its own slots in order: no atomics, and the same bits whichever thread
// took which tile.
#pragma once

#include <cstdint>
#include <vector>

#include "../core/arguments.h"
#include "parallel.h"

namespace gaussian_rasterization::cpu {

struct TileEntry {
  std::int32_t gaussian;
  std::int32_t slot;
};

struct Grid {
  std::int64_t columns, rows;
  std::int64_t tiles() const { return columns * rows; }
};
inline Grid grid_of(std::int64_t width, std::int64_t height) {
  return {(width + kTileSize - 1) / kTileSize, (height + kTileSize - 1) / kTileSize};
}

// A view of the bins of a batch, as they lie in one block of int32.
struct Bins {
  std::int64_t*
      tile_begin;  // [B tiles + 1]: where a tile's entries begin; image b's pairs begin where its first tile's do
  std::int32_t* slot_begin;  // [B, N + 1]: where a Gaussian's slots begin, counted from the image's first pair
  TileEntry* entries;        // [pairs]
};
std::int64_t bins_length(std::int64_t images, std::int64_t gaussians, std::int64_t tiles,
                         std::int64_t pairs);  // in int32
Bins view_bins(std::int32_t* block, std::int64_t images, std::int64_t gaussians, std::int64_t tiles);

// Projects the scene and finds the pairs; knows how long the bins will be before they are written.
template <typename T>
class Binning {
 public:
  // Fills splats [B, N] (opacity 0: reaches no pixel) and num_invalid [B].
  Binning(const SceneArguments<T>& scene, Splat<T>* splats, std::int32_t* num_invalid, const RunOnAllThreads& run);
  std::int64_t pairs() const { return pairs_; }
  void write(const Bins& bins) const;

 private:
  struct Piece {                      // of one image's Gaussians
    std::vector<std::int32_t> tiles;  // of its pairs, in slot order
    std::int32_t invalid = 0;
  };
  void project_piece(std::int64_t image, std::int64_t first, std::int64_t last, Piece& piece);
  void write_image(const Bins& bins, std::int64_t image) const;

  const SceneArguments<T>& scene_;
  const RunOnAllThreads& run_;
  Splat<T>* splats_;
  Grid grid_;
  std::int64_t pieces_per_image_;
  std::vector<Piece> pieces_;              // [B, pieces]
  std::vector<std::int32_t> pair_counts_;  // [B, N]
  std::vector<std::int64_t> image_begin_;  // [B + 1]
  std::int64_t pairs_ = 0;
};

}  // namespace gaussian_rasterization::cpu
