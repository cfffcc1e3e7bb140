// Sorting a tile's pairs by depth, ties by index: a key holds both, so keys are distinct and their order is one. The
// block that sweeps the tile sorts it first: while one block sorts, others of the processor sweep.
#pragma once

#include <cub/block/block_merge_sort.cuh>

#include "../tile.cuh"
#include "arguments.h"

namespace gaussian_rasterization::cuda::fused {

inline constexpr int kSortThreads = kTileThreads;
inline constexpr std::uint64_t kLast = ~0ull;  // after every key

struct Before {
  __device__ __forceinline__ bool operator()(std::uint64_t a, std::uint64_t b) const { return a < b; }
};

template <int kItems>
using BlockSort = cub::BlockMergeSort<std::uint64_t, kSortThreads, kItems>;

union SortMemory {
  BlockSort<1>::TempStorage one;
  BlockSort<2>::TempStorage two;
  BlockSort<4>::TempStorage four;
  BlockSort<8>::TempStorage eight;
  BlockSort<16>::TempStorage sixteen;
};

template <int kItems>
__device__ __noinline__ void sort_in_block(typename BlockSort<kItems>::TempStorage& memory, const std::uint64_t* keys,
                                           int count, std::uint32_t* entries) {
  std::uint64_t items[kItems];
  const int first = static_cast<int>(threadIdx.x) * kItems;
#pragma unroll
  for (int i = 0; i < kItems; ++i) items[i] = first + i < count ? keys[first + i] : kLast;
  BlockSort<kItems>(memory).Sort(items, Before{});
#pragma unroll
  for (int i = 0; i < kItems; ++i)
    if (first + i < count) entries[first + i] = static_cast<std::uint32_t>(items[i]);
}

__device__ __forceinline__ void order_pair(std::uint64_t* keys, std::int64_t low, std::int64_t high,
                                           std::int64_t count) {
  if (high >= count) return;
  const std::uint64_t a = keys[low], b = keys[high];
  if (b < a) keys[low] = b, keys[high] = a;
}

// A bitonic sort in place, for tiles of any size (Batcher 1968, in the form whose comparators all point one way: keys
// past the end then count as the largest, and no comparator moves one).
inline __device__ void sort_in_memory(std::uint64_t* keys, std::int64_t count) {
  for (std::int64_t run = 2; run < 2 * count; run *= 2) {
    for (std::int64_t stride = run / 2; stride > 0; stride /= 2) {
      for (std::int64_t i = threadIdx.x; i < (count + 1) / 2 + stride; i += kSortThreads) {
        const std::int64_t low = i / stride * 2 * stride + i % stride;
        if (low >= count) continue;
        const std::int64_t high = stride == run / 2 ? low / run * run + run - 1 - low % run : low + stride;
        order_pair(keys, low, high, count);
      }
      __syncthreads();
    }
  }
}

// Sorts keys [count] and leaves what they say of splats in entries [count]. All threads of the block take part, and may
// read the entries when it returns.
__device__ __forceinline__ void sort_tile(SortMemory& memory, std::uint64_t* keys, int count, std::uint32_t* entries) {
  if (count <= kSortThreads) {
    sort_in_block<1>(memory.one, keys, count, entries);
  } else if (count <= 2 * kSortThreads) {
    sort_in_block<2>(memory.two, keys, count, entries);
  } else if (count <= 4 * kSortThreads) {
    sort_in_block<4>(memory.four, keys, count, entries);
  } else if (count <= 8 * kSortThreads) {
    sort_in_block<8>(memory.eight, keys, count, entries);
  } else if (count <= 16 * kSortThreads) {
    sort_in_block<16>(memory.sixteen, keys, count, entries);
  } else {
    sort_in_memory(keys, count);
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kSortThreads)
      entries[i] = static_cast<std::uint32_t>(keys[i]);
  }
  __syncthreads();
}

}  // namespace gaussian_rasterization::cuda::fused
