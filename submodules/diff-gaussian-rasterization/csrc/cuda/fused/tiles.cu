// The order in which tiles are swept: those with most pairs first, so that no long one begins when all others end.
#include "arguments.h"

namespace gaussian_rasterization::cuda::fused {
namespace {

constexpr int kThreads = 1024;
constexpr int kBuckets = 256;
constexpr int kPairsPerBucket = 8;

__device__ __forceinline__ int bucket_of(std::int32_t pairs) {
  return kBuckets - 1 - smaller(pairs / kPairsPerBucket, kBuckets - 1);
}

// One block: a counting sort by rough size. Which of two tiles of one bucket comes first does not matter.
__global__ void __launch_bounds__(kThreads)
    order_tiles_kernel(std::int64_t tiles, const std::int32_t* tile_begin, std::int32_t* order) {
  __shared__ std::int32_t counts[kBuckets];
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kBuckets) counts[thread] = 0;
  __syncthreads();
  for (std::int64_t tile = thread; tile < tiles; tile += kThreads)
    atomicAdd(counts + bucket_of(tile_begin[tile + 1] - tile_begin[tile]), 1);
  __syncthreads();
  for (int stride = 1; stride < kBuckets; stride *= 2) {  // each its own and those before it
    const std::int32_t before = thread < kBuckets && thread >= stride ? counts[thread - stride] : 0;
    __syncthreads();
    if (thread < kBuckets) counts[thread] += before;
    __syncthreads();
  }
  for (std::int64_t tile = thread; tile < tiles; tile += kThreads) {
    const std::int32_t place = atomicSub(counts + bucket_of(tile_begin[tile + 1] - tile_begin[tile]), 1) - 1;
    order[place] = static_cast<std::int32_t>(tile);
  }
}

}  // namespace

void order_tiles(const Sizes& sizes, const Lists& lists, cudaStream_t stream) {
  order_tiles_kernel<<<1, kThreads, 0, stream>>>(sizes.tiles(), lists.tile_begin, lists.tile_order);
  check_launch("order_tiles");
}

}  // namespace gaussian_rasterization::cuda::fused
