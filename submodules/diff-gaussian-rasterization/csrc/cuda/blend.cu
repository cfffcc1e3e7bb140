#include "blend.h"
#include "warp_sum.cuh"

namespace gaussian_rasterization::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kImageGroup = 8;  // images whose sums are in registers at once
constexpr int kSpan = 4;        // elements of one thread: each weight that it loads serves them all
constexpr int kWarpSpan = kSpan * kWarpSize;

// Elements of a thread: kSpan of its warp's consecutive ones, kWarpSize apart, so that the lanes' are next to each
// other.
struct Elements {
  std::int64_t first, end;

  __device__ __forceinline__ explicit Elements(std::int64_t elements) : end(elements) {
    const std::int64_t warp = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarpSize;
    first = warp * kWarpSpan + threadIdx.x % kWarpSize;
  }
  // 0 past the end.
  __device__ __forceinline__ void load(const float* from, float (&values)[kSpan]) const {
#pragma unroll
    for (int j = 0; j < kSpan; ++j) values[j] = first + j * kWarpSize < end ? from[first + j * kWarpSize] : 0.0f;
  }
  __device__ __forceinline__ void store(float* to, const float (&values)[kSpan]) const {
#pragma unroll
    for (int j = 0; j < kSpan; ++j)
      if (first + j * kWarpSize < end) to[first + j * kWarpSize] = values[j];
  }
};

__global__ void __launch_bounds__(kThreads) blend_kernel(const BlendArguments<float> a) {
  const Elements elements(a.elements);
  for (std::int64_t first = 0; first < a.images; first += kImageGroup) {
    float sums[kImageGroup][kSpan];
    elements.load(a.base, sums[0]);
#pragma unroll
    for (int i = 1; i < kImageGroup; ++i)
      for (int j = 0; j < kSpan; ++j) sums[i][j] = sums[0][j];
    for (std::int64_t k = 0; k < a.bases; ++k) {
      float basis[kSpan];
      elements.load(a.basis + k * a.elements, basis);
#pragma unroll
      for (int i = 0; i < kImageGroup; ++i) {
        const float weight = first + i < a.images ? a.weights[(first + i) * a.bases + k] : 0.0f;
        for (int j = 0; j < kSpan; ++j) sums[i][j] += weight * basis[j];
      }
    }
#pragma unroll
    for (int i = 0; i < kImageGroup; ++i)
      if (first + i < a.images) elements.store(a.out + (first + i) * a.elements, sums[i]);
  }
}

struct BlendBackwardSweep {
  BlendGradientArguments<float> blend;
  std::int64_t warps;
  float* partial_sums;  // [B K, warps]: each warp's part of grad_weights
};

// One group of images: adds to grad_base and grad_basis, which the first group begins.
__device__ __forceinline__ void backward_of_group(const BlendBackwardSweep& sweep, std::int64_t first,
                                                  const Elements& elements, int field) {
  const BlendGradientArguments<float>& a = sweep.blend;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const std::int64_t warp = elements.first / kWarpSpan;
  float grad[kImageGroup][kSpan], grad_base[kSpan] = {};
  if (first != 0) elements.load(a.grad_base, grad_base);
#pragma unroll
  for (int i = 0; i < kImageGroup; ++i) {
    for (int j = 0; j < kSpan; ++j) grad[i][j] = 0.0f;
    if (first + i < a.images) elements.load(a.grad_out + (first + i) * a.elements, grad[i]);
    for (int j = 0; j < kSpan; ++j) grad_base[j] += grad[i][j];
  }
  elements.store(a.grad_base, grad_base);
  for (std::int64_t k = 0; k < a.bases; ++k) {
    float basis[kSpan], grad_basis[kSpan] = {}, products[kImageGroup];
    elements.load(a.basis + k * a.elements, basis);
    if (first != 0) elements.load(a.grad_basis + k * a.elements, grad_basis);
#pragma unroll
    for (int i = 0; i < kImageGroup; ++i) {
      const float weight = first + i < a.images ? a.weights[(first + i) * a.bases + k] : 0.0f;
      products[i] = 0.0f;
      for (int j = 0; j < kSpan; ++j) grad_basis[j] += weight * grad[i][j], products[i] += grad[i][j] * basis[j];
    }
    elements.store(a.grad_basis + k * a.elements, grad_basis);
    const float total = sum_over_lanes<kImageGroup>(products, lane);
    if (field >= 0 && first + field < a.images && warp < sweep.warps)
      sweep.partial_sums[((first + field) * a.bases + k) * sweep.warps + warp] = total;
  }
}

// The first group runs even where there is no image: the gradients are then 0.
__global__ void __launch_bounds__(kThreads) blend_backward_kernel(const BlendBackwardSweep sweep) {
  const Elements elements(sweep.blend.elements);
  const int field = field_of_lane<kImageGroup>(static_cast<int>(threadIdx.x) % kWarpSize);
  std::int64_t first = 0;
  do {
    backward_of_group(sweep, first, elements, field);
    first += kImageGroup;
  } while (first < sweep.blend.images);
}

// One block for each of the B K weights. In double: thousands of parts of one sum.
__global__ void __launch_bounds__(kThreads) sum_partial_sums_kernel(const BlendBackwardSweep sweep) {
  __shared__ double sums[kThreads];
  const float* parts = sweep.partial_sums + blockIdx.x * sweep.warps;
  double sum = 0.0;
  for (std::int64_t i = threadIdx.x; i < sweep.warps; i += kThreads) sum += static_cast<double>(parts[i]);
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) sweep.blend.grad_weights[blockIdx.x] = static_cast<float>(sums[0]);
}

constexpr std::int64_t kBlockSpan = static_cast<std::int64_t>(kThreads) * kSpan;

}  // namespace

void blend(const BlendArguments<float>& a, cudaStream_t stream) {
  if (a.elements == 0 || a.images == 0) return;
  blend_kernel<<<blocks_for(a.elements, kBlockSpan), kThreads, 0, stream>>>(a);
  check_launch("blend");
}

void blend_backward(const BlendGradientArguments<float>& a, const Allocate& allocate, cudaStream_t stream) {
  const std::int64_t weights = a.images * a.bases, warps = (a.elements + kWarpSpan - 1) / kWarpSpan;
  const BlendBackwardSweep sweep{a, warps, allocate_array<float>(allocate, weights * warps)};
  if (a.elements != 0) {
    blend_backward_kernel<<<blocks_for(a.elements, kBlockSpan), kThreads, 0, stream>>>(sweep);
    check_launch("blend_backward");
  }
  if (weights == 0) return;
  sum_partial_sums_kernel<<<static_cast<unsigned>(weights), kThreads, 0, stream>>>(sweep);
  check_launch("sum_partial_sums");
}

}  // namespace gaussian_rasterization::cuda
