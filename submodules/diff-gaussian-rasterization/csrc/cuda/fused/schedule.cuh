// What the kernels of the fused path share: the row of the schedule that a step follows, the place of a blended number,
// and Adam.
#pragma once

#include "arguments.h"

namespace gaussian_rasterization::cuda::fused {

inline constexpr float kHarmonic = 0.28209479177387814f;  // the constant spherical harmonic, 1 / (2 sqrt(pi))

__device__ __forceinline__ std::int64_t slot_of(const Frames& frames, const Sizes& sizes, std::int64_t row,
                                                std::int64_t image) {
  return frames.slots[row * sizes.all_images + sizes.first_image + image];
}
__device__ __forceinline__ const float* background_of(const Frames& frames, const Sizes& sizes, std::int64_t row,
                                                      std::int64_t image) {
  return frames.background + 3 * (row * sizes.all_images + sizes.first_image + image);
}
__device__ __forceinline__ const float* corrected_camera(const Frames& frames, const Sizes& sizes,
                                                         std::int64_t image) {
  return frames.corrected + kCorrectedCamera * (sizes.first_image + image);
}
// The camera of an image of this process, corrected where the tracking is.
__device__ __forceinline__ Camera<float> camera_of(const Frames& frames, const Sizes& sizes, std::int64_t row,
                                                   std::int64_t image) {
  const std::int64_t c = slot_of(frames, sizes, row, image) * frames.camera_stride;
  const float* pose = frames.corrected ? corrected_camera(frames, sizes, image) : frames.world_to_camera + 12 * c;
  return load_camera(pose, frames.intrinsics + 4 * c, sizes.width, sizes.height);
}

// The number that a thread of a block of kPoseThreads has: warps 0 to 2 have the means of 32 Gaussians, as they lie in
// memory, 3 to 6 their rotations, 7 to 9 their colours.
struct BlendedNumber {
  int part;
  std::int64_t index;  // in the part's array [N, width]
  bool exists;
};
__device__ __forceinline__ BlendedNumber blended_number(std::int64_t block, std::int64_t gaussians) {
  const int thread = static_cast<int>(threadIdx.x);
  const int part = thread < 3 * kGaussiansPerBlock ? 0 : thread < 7 * kGaussiansPerBlock ? 1 : 2;
  const int within = thread - part_offset(part) * kGaussiansPerBlock, width = part_width(part);
  const std::int64_t index = block * kGaussiansPerBlock * width + within;
  return {part, index, index < gaussians * width};
}

// Adam (Kingma and Ba 2015, algorithm 1), as torch.optim.Adam has it.
inline constexpr float kAdamBeta1 = 0.9f, kAdamRest1 = 0.1f;      // the second is 1 - the first
inline constexpr float kAdamBeta2 = 0.999f, kAdamRest2 = 0.001f;  // likewise; written out, for float has no 0.999
inline constexpr float kAdamEpsilon = 1e-15f;

// rate: the learning rate over the first bias correction; correction: 1 / sqrt of the second one.
__device__ __forceinline__ void adam(float& value, float& average, float& square, float gradient, float rate,
                                     float correction, float epsilon = kAdamEpsilon) {
  average = kAdamBeta1 * average + kAdamRest1 * gradient;
  square = kAdamBeta2 * square + kAdamRest2 * gradient * gradient;
  value -= rate * average / (sqrtf(square) * correction + epsilon);
}
__device__ __forceinline__ void adam(const Trained& trained, std::int64_t index, float gradient, float rate,
                                     float correction, float epsilon = kAdamEpsilon) {
  float value = trained.value[index], average = trained.average[index], square = trained.square[index];
  adam(value, average, square, gradient, rate, correction, epsilon);
  trained.value[index] = value, trained.average[index] = average, trained.square[index] = square;
}

__device__ __forceinline__ Exchange exchange_of(const UpdateArguments& a) {
  return {a.sizes.gaussians, a.sizes.images};
}

// Whether some process could not hold its pairs: then nothing changes anywhere.
__device__ __forceinline__ bool is_void(const UpdateArguments& a) {
  const Exchange exchange = exchange_of(a);
  bool overflow = false;
  for (std::int64_t r = 0; r < a.processes; ++r)
    overflow |= a.exchange[r * exchange.length() + exchange.overflow()] != 0.0f;
  return overflow;
}

// More shared memory than a kernel may take unasked.
template <typename Kernel>
void allow_shared_memory(Kernel kernel, std::size_t bytes) {
  constexpr std::size_t kUnasked = 48 * 1024;
  if (bytes > kUnasked)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          "asking for shared memory");
}

}  // namespace gaussian_rasterization::cuda::fused
