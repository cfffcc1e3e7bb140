#include "bins.h"

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include <limits>

#include "splat_memory.cuh"
#include "tile_ranges.cuh"

namespace gaussian_rasterization::cuda {
namespace {

constexpr int kThreads = 256;

// A visible depth is positive: its sign bit is 0, and the other bits are ordered as the depths are.
constexpr int kDepthBits = 31;

__device__ std::int32_t count_tiles(const Splat<float>* splat, std::int32_t width, std::int32_t height) {
  const Ellipse<float> ellipse = stored_ellipse(splat);
  const Range rows = tile_rows_of(ellipse, height);
  std::int32_t count = 0;
  for (std::int32_t row = rows.first; row <= rows.last; ++row) {
    const Range columns = tile_columns_of(ellipse, row, width, height);
    count += columns.last - columns.first + 1;  // an empty range ends one before it begins
  }
  return count;
}

__global__ void __launch_bounds__(kThreads) project_kernel(const ProjectArguments a) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.scene.images * a.scene.gaussians) return;
  const std::int64_t image = static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(a.scene.gaussians);
  const Gaussian<float> gaussian = load_gaussian(a.scene, image, i - image * a.scene.gaussians);
  Splat<float> splat{};
  std::int32_t tiles = 0;
  if (!is_valid(gaussian)) {
    atomicAdd(a.num_invalid + image, 1);  // whole numbers: any order gives the same sum
  } else if (project(gaussian, load_camera(a.scene, image), splat)) {
    store_splat(splat, a.splats + i);
    tiles =
        count_tiles(a.splats + i, static_cast<std::int32_t>(a.scene.width), static_cast<std::int32_t>(a.scene.height));
  }
  if (tiles == 0) store_splat(Splat<float>{}, a.splats + i);
  a.slot_begin[i] = tiles;
}

// In order of slots, so that of two splats at one depth the stable sort leaves the lower index in front.
__global__ void __launch_bounds__(kThreads) name_pairs_kernel(const BinArguments a) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x,
                     splats = a.images * a.gaussians;
  if (i > splats) return;
  const std::int64_t begin = a.slot_begin[i];
  a.bins.slot_begin[i] = static_cast<std::int32_t>(begin);
  if (i == splats || a.slot_begin[i + 1] == begin) return;
  const Grid grid = grid_of(a.width, a.height);
  const std::int64_t first_tile =
      static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(a.gaussians) * grid.tiles();
  const std::uint64_t depth = __float_as_uint(a.splats[i].depth);
  const auto width = static_cast<std::int32_t>(a.width), height = static_cast<std::int32_t>(a.height);
  std::int64_t slot = begin;
  const Ellipse<float> ellipse = stored_ellipse(a.splats + i);
  const Range rows = tile_rows_of(ellipse, height);
  for (std::int32_t row = rows.first; row <= rows.last; ++row) {
    const Range columns = tile_columns_of(ellipse, row, width, height);
    const std::int64_t row_begin = first_tile + static_cast<std::int64_t>(row) * grid.columns;
    for (std::int32_t column = columns.first; column <= columns.last; ++column, ++slot) {
      a.keys[slot] = static_cast<std::uint64_t>(row_begin + column) << kDepthBits | depth;
      a.entries[slot] = {static_cast<std::int32_t>(i), static_cast<std::int32_t>(slot)};
    }
  }
}

struct TileBeginArguments {
  const std::uint64_t* keys;  // [pairs], ascending
  std::int64_t pairs, tiles;
  std::int64_t* tile_begin;  // [tiles + 1]
};

// The first key that is not of an earlier tile: by bisection, so that a long run of empty tiles costs no more than any
// other.
__global__ void __launch_bounds__(kThreads) find_tiles_kernel(const TileBeginArguments a) {
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (tile > a.tiles) return;
  const std::uint64_t least = static_cast<std::uint64_t>(tile) << kDepthBits;
  std::int64_t first = 0, last = a.pairs;
  while (first < last) {
    const std::int64_t middle = first + (last - first) / 2;
    if (a.keys[middle] < least)
      first = middle + 1;
    else
      last = middle;
  }
  a.tile_begin[tile] = first;
}

// values[i] = sum of the values before i.
void sum_before(std::int64_t* values, std::int64_t length, const Allocate& allocate, cudaStream_t stream) {
  std::size_t bytes = 0;
  check(cub::DeviceScan::ExclusiveSum(nullptr, bytes, values, values, length, stream), "prefix sum");
  void* scratch = allocate(bytes);
  check(cub::DeviceScan::ExclusiveSum(scratch, bytes, values, values, length, stream), "prefix sum");
}

int bits_of(std::int64_t largest) {
  int bits = 0;
  for (; largest > 0; largest >>= 1) ++bits;
  return bits;
}

// Returns the sorted keys; the entries go to the bins.
const std::uint64_t* sort_pairs(const BinArguments& a, std::int64_t tiles, const Allocate& allocate,
                                cudaStream_t stream) {
  auto* sorted = allocate_array<std::uint64_t>(allocate, a.pairs);
  const int end_bit = kDepthBits + bits_of(tiles - 1), count = static_cast<int>(a.pairs);
  std::size_t bytes = 0;
  const auto sort = [&](void* scratch) {
    check(cub::DeviceRadixSort::SortPairs(scratch, bytes, a.keys, sorted, a.entries, a.bins.entries, count, 0, end_bit,
                                          stream),
          "sort");
  };
  sort(nullptr);
  sort(allocate(bytes));
  return sorted;
}

}  // namespace

std::int64_t bins_length(std::int64_t splats, std::int64_t tiles, std::int64_t pairs) {
  return 2 * (tiles + 1) + 2 * pairs + splats + 1;
}
std::int64_t pairs_in_bins(std::int64_t splats, std::int64_t tiles, std::int64_t length) {
  return (length - bins_length(splats, tiles, 0)) / 2;
}
Bins view_bins(std::int32_t* block, std::int64_t tiles, std::int64_t pairs) {
  std::int32_t* entries = block + 2 * (tiles + 1);
  return {reinterpret_cast<std::int64_t*>(block), reinterpret_cast<TileEntry*>(entries), entries + 2 * pairs};
}

std::int64_t project_and_count_pairs(const ProjectArguments& a, const Allocate& allocate, cudaStream_t stream) {
  const std::int64_t splats = a.scene.images * a.scene.gaussians;
  if (a.scene.images > 0)
    check(cudaMemsetAsync(a.num_invalid, 0, a.scene.images * sizeof(std::int32_t), stream), "clearing num_invalid");
  check(cudaMemsetAsync(a.slot_begin + splats, 0, sizeof(std::int64_t), stream), "clearing the last slot");
  if (splats == 0) return 0;
  project_kernel<<<blocks_for(splats, kThreads), kThreads, 0, stream>>>(a);
  check_launch("project");
  sum_before(a.slot_begin, splats + 1, allocate, stream);
  std::int64_t pairs = 0;
  check(cudaMemcpyAsync(&pairs, a.slot_begin + splats, sizeof pairs, cudaMemcpyDeviceToHost, stream),
        "reading the number of pairs");
  check(cudaStreamSynchronize(stream), "reading the number of pairs");
  if (pairs > std::numeric_limits<std::int32_t>::max())
    throw std::runtime_error("gaussian_rasterization: more than 2^31 pairs of Gaussian and tile in one batch");
  return pairs;
}

void write_bins(BinArguments a, const Allocate& allocate, cudaStream_t stream) {
  const std::int64_t splats = a.images * a.gaussians, tiles = a.images * grid_of(a.width, a.height).tiles();
  a.keys = allocate_array<std::uint64_t>(allocate, a.pairs);
  a.entries = allocate_array<TileEntry>(allocate, a.pairs);
  name_pairs_kernel<<<blocks_for(splats + 1, kThreads), kThreads, 0, stream>>>(a);
  check_launch("name_pairs");
  const std::uint64_t* sorted = a.pairs == 0 ? a.keys : sort_pairs(a, tiles, allocate, stream);
  find_tiles_kernel<<<blocks_for(tiles + 1, kThreads), kThreads, 0, stream>>>(
      TileBeginArguments{sorted, a.pairs, tiles, a.bins.tile_begin});
  check_launch("find_tiles");
}

}  // namespace gaussian_rasterization::cuda
