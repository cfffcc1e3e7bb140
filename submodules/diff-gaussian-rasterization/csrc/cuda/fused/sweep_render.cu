// The forward sweep alone, for pictures.
#include "sort.cuh"
#include "sweep.cuh"

namespace gaussian_rasterization::cuda::fused {
namespace {

// [0, 1] to 0..255, half up; what lies outside is clamped.
__device__ __forceinline__ std::uint8_t level_of(float x) {
  return static_cast<std::uint8_t>(clamped(x, 0.0f, 1.0f) * 255.0f + 0.5f);
}

__device__ __forceinline__ void write_pixel(const RenderArguments& a, const TilePixel& pixel, const Canvas& canvas,
                                            float alpha) {
  const std::int64_t plane = a.sizes.width * a.sizes.height;
  if (a.pictures)
    reinterpret_cast<uchar4*>(a.pictures)[plane * pixel.image + pixel.index] =
        make_uchar4(level_of(canvas.red), level_of(canvas.green), level_of(canvas.blue), level_of(alpha));
  if (!a.color) return;
  float* color = a.color + 3 * plane * pixel.image + pixel.index;
  color[0] = canvas.red, color[plane] = canvas.green, color[2 * plane] = canvas.blue;
  a.alpha[plane * pixel.image + pixel.index] = alpha;
}

// One block for each tile of the batch.
__global__ void __launch_bounds__(kTileThreads) sweep_render_kernel(const RenderArguments a) {
  __shared__ union {
    SortMemory sort;
    StagedSplats staged;
  } memory;
  if (a.state->overflow != 0) return;
  const std::uint32_t tile = a.lists.tile_order[blockIdx.x];
  const TilePixel pixel = pixel_of_thread(tile, a.sizes.width, a.sizes.height);
  const std::int32_t begin = a.lists.tile_begin[tile], count = a.lists.tile_begin[tile + 1] - begin;
  const int lane = lane_of_thread(), warp = warp_of_thread();
  if (count > 0) sort_tile(memory.sort, a.lists.keys + begin, count, a.lists.entries + begin);
  StagedSplats& staged = memory.staged;
  OpenPixel state(pixel.inside);
  Canvas canvas;
  // The vote also waits for all to be done with the last batch.
  for (int first = 0; first < count && __syncthreads_count(!state.is_finished()) != 0; first += kStaged) {
    stage(a.lists.splats, a.lists.entries + begin + first, count - first, pixel, staged);
    __syncthreads();
    for (int chunk = 0; chunk < kChunks && !__all_sync(kAllLanes, state.is_finished()); ++chunk) {
      unsigned reached = reached_in_chunk(staged, chunk, warp, lane);
      while (reached != 0) {
        const int bit = highest_bit(reached);
        reached ^= 1u << bit;
        const SweptSplat<float> splat = staged_splat(staged, entry_of_bit(chunk, bit)).splat;
        canvas.add(splat, step_open(splat, pixel.x, pixel.y, state).share);
      }
    }
  }
  canvas.close(a.background + 3 * pixel.image, state.left);
  if (pixel.inside) write_pixel(a, pixel, canvas, 1.0f - state.left);
}

}  // namespace

void sweep_render(const RenderArguments& a, cudaStream_t stream) {
  sweep_render_kernel<<<static_cast<unsigned>(a.sizes.tiles()), kTileThreads, 0, stream>>>(a);
  check_launch("sweep_render");
}

}  // namespace gaussian_rasterization::cuda::fused
