// Which splats each tile composites, front to back.
//
// Splats of the batch are numbered image N + gaussian, tiles image tiles + (row by row): both in 32 bits, as the border
// has checked. Every (splat, tile) pair has a slot: pairs are numbered splat by splat, and those of one splat row by
// row. A sweep over tiles leaves its result for a pair in the pair's slot, and each Gaussian then adds up its own slots
// in order: no float atomics, the same bits in every run.
#pragma once

#include "../core/arguments.h"
#include "launch.h"

namespace gaussian_rasterization::cuda {

struct alignas(8) TileEntry {
  std::int32_t splat;
  std::int32_t slot;
};

struct Grid {
  std::int32_t columns, rows;
  GR_HD std::int64_t tiles() const { return static_cast<std::int64_t>(columns) * rows; }
};
GR_HD Grid grid_of(std::int64_t width, std::int64_t height) {
  return {static_cast<std::int32_t>((width + kTileSize - 1) / kTileSize),
          static_cast<std::int32_t>((height + kTileSize - 1) / kTileSize)};
}

// A view of the bins of a batch, as they lie in one block of int32 (aligned to 8 bytes).
struct Bins {
  std::int64_t* tile_begin;  // [B tiles + 1]: where a tile's entries begin
  TileEntry* entries;        // [pairs]
  std::int32_t* slot_begin;  // [B N + 1]: where a splat's slots begin
};
std::int64_t bins_length(std::int64_t splats, std::int64_t tiles, std::int64_t pairs);          // in int32
std::int64_t pairs_in_bins(std::int64_t splats, std::int64_t tiles, std::int64_t bins_length);  // its inverse
Bins view_bins(std::int32_t* block, std::int64_t tiles, std::int64_t pairs);

struct ProjectArguments {
  SceneArguments<float> scene;
  Splat<float>* splats;      // [B, N]; 16-byte aligned. Opacity 0: reaches no pixel
  std::int64_t* slot_begin;  // [B N + 1]: a splat's number of tiles, then (summed over those before it) its first slot;
                             // last: all pairs
  std::int32_t* num_invalid;  // [B]
};

// Projects the scene, counts tiles and returns the number of pairs. Waits for the stream, the only operator that does:
// the bins' size depends on the scene.
std::int64_t project_and_count_pairs(const ProjectArguments& arguments, const Allocate& allocate, cudaStream_t stream);

struct BinArguments {
  std::int64_t images, gaussians, width, height;
  const Splat<float>* splats;      // [B, N]
  const std::int64_t* slot_begin;  // [B N + 1]
  std::int64_t pairs;
  std::uint64_t* keys;  // [pairs], by slot: tile above depth
  TileEntry* entries;   // [pairs], by slot
  Bins bins;
};

// Fills the bins. Of the arguments, keys and entries are set here.
void write_bins(BinArguments arguments, const Allocate& allocate, cudaStream_t stream);

}  // namespace gaussian_rasterization::cuda
