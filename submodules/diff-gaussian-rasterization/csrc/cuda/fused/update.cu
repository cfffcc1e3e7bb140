// From the gradients of the blended numbers to those of base and bases, and Adam at once: a basis is read, its gradient
// exists in registers alone, and it is written back.
#include "../warp_sum.cuh"
#include "schedule.cuh"

namespace gaussian_rasterization::cuda::fused {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kImageGroup = 10;  // images whose parts of a sum a thread holds at once
constexpr int kBlocksPerProcessor = 3;
constexpr int kFinishThreads = 128;
constexpr float kMinBatchWeight = 0.1f;  // sum of a T over a batch under which a first colour would be noise

// Numbers of a thread, kThreads apart, and of a block. Fewer where a large batch would not fit into shared memory.
constexpr int kMany = 2, kFew = 1, kMostImagesForMany = 32;

__host__ __device__ constexpr std::int64_t padded(std::int64_t images) {
  return (images + kImageGroup - 1) / kImageGroup * kImageGroup;
}

// Shared memory of a block: its numbers' gradients, image by image; the weights of a basis next to each other; and each
// warp's sums for the gradients of the weights. Images are padded to whole groups with zeros.
template <int kNumbers>
struct UpdateMemory {
  float* gradients;  // [M, kThreads * kNumbers]
  float* weights;    // [K, M]
  float* sums;       // [kWarps, K, M]
  static std::size_t bytes(std::int64_t images, std::int64_t bases) {
    return padded(images) * (kThreads * kNumbers + bases * (1 + kWarps)) * sizeof(float);
  }
  __device__ UpdateMemory(float* storage, std::int64_t images, std::int64_t bases)
      : gradients(storage),
        weights(gradients + padded(images) * kThreads * kNumbers),
        sums(weights + padded(images) * bases) {}
};

// A stretch of the numbers of one part.
struct Stretch {
  int part;
  std::int64_t first, length;  // length: of the part's array, and from basis to basis
};
template <int kNumbers>
__device__ __forceinline__ std::int64_t stretches_of_part(std::int64_t gaussians, int part) {
  return (gaussians * part_width(part) + kThreads * kNumbers - 1) / (kThreads * kNumbers);
}
template <int kNumbers>
__device__ __forceinline__ Stretch find_stretch(std::int64_t index, std::int64_t gaussians) {
  int part = 0;
  while (index >= stretches_of_part<kNumbers>(gaussians, part)) index -= stretches_of_part<kNumbers>(gaussians, part++);
  return {part, index * kThreads * kNumbers, gaussians * part_width(part)};
}

// Where the gradients to the blended numbers of an image of the whole batch lie.
__device__ __forceinline__ const float* gradients_of_image(const UpdateArguments& a, std::int64_t image, int part) {
  const Exchange exchange = exchange_of(a);
  const auto i = static_cast<std::uint32_t>(image), each = static_cast<std::uint32_t>(a.sizes.images);
  return a.exchange + i / each * exchange.length() + exchange.image(i % each) + exchange.part(part);
}

template <int kNumbers>
__device__ __forceinline__ void load_gradients(const UpdateArguments& a, const Stretch& stretch, float* gradients) {
  for (std::int64_t image = 0; image < padded(a.sizes.all_images); ++image) {
    const bool exists = image < a.sizes.all_images;
    const float* from = exists ? gradients_of_image(a, image, stretch.part) + stretch.first : nullptr;
    for (int i = static_cast<int>(threadIdx.x); i < kThreads * kNumbers; i += kThreads)
      gradients[image * kThreads * kNumbers + i] = exists && stretch.first + i < stretch.length ? from[i] : 0.0f;
  }
}

// Where a thread's numbers lie: the pointers to the first, and which of them, kThreads apart, exist.
template <int kNumbers>
struct Cursor {
  Trained at;
  bool exists[kNumbers];

  __device__ __forceinline__ Cursor(const Trained& array, const Stretch& stretch) {
    const std::int64_t first = stretch.first + threadIdx.x;
    at = {array.value + first, array.average + first, array.square + first};
#pragma unroll
    for (int j = 0; j < kNumbers; ++j) exists[j] = first + j * kThreads < stretch.length;
  }
  __device__ __forceinline__ void move_on(std::int64_t stride) {
    at.value += stride, at.average += stride, at.square += stride;
  }
};

// A thread's numbers of one basis, with Adam's averages.
template <int kNumbers>
struct Numbers {
  float values[kNumbers], averages[kNumbers], squares[kNumbers];

  __device__ __forceinline__ void load(const Cursor<kNumbers>& from) {
#pragma unroll
    for (int j = 0; j < kNumbers; ++j) {
      values[j] = from.exists[j] ? from.at.value[j * kThreads] : 0.0f;
      averages[j] = from.exists[j] ? from.at.average[j * kThreads] : 0.0f;
      squares[j] = from.exists[j] ? from.at.square[j * kThreads] : 0.0f;
    }
  }
  // Adam, and back to where the numbers came from.
  __device__ __forceinline__ void update(const Cursor<kNumbers>& to, const float (&gradients)[kNumbers], float rate,
                                         float correction, float epsilon) {
#pragma unroll
    for (int j = 0; j < kNumbers; ++j) {
      adam(values[j], averages[j], squares[j], gradients[j], rate, correction, epsilon);
      if (!to.exists[j]) continue;
      to.at.value[j * kThreads] = values[j];
      to.at.average[j * kThreads] = averages[j];
      to.at.square[j * kThreads] = squares[j];
    }
  }
};

// The base's gradient is the sum over the images.
template <int kNumbers>
__device__ __forceinline__ void update_base(const UpdateArguments& a, const Stretch& stretch, const float* gradients,
                                            const float* rates) {
  const Cursor<kNumbers> cursor(a.base[stretch.part], stretch);
  Numbers<kNumbers> numbers;
  numbers.load(cursor);
  float totals[kNumbers] = {};
  for (std::int64_t image = 0; image < a.sizes.all_images; ++image)
#pragma unroll
    for (int j = 0; j < kNumbers; ++j) totals[j] += gradients[image * kThreads * kNumbers + j * kThreads + threadIdx.x];
  numbers.update(cursor, totals, rates[kMeanRate + stretch.part], rates[kCorrection],
                 rates[kMeanEpsilon + stretch.part]);
}

// Gradients of one basis: of its numbers, summed over the images; and of the images' weights, summed over the numbers.
template <int kNumbers>
__device__ __forceinline__ void sum_images(const float* gradients, const float* weights, float* sums, int groups,
                                           const Numbers<kNumbers>& numbers, float (&of_numbers)[kNumbers], int lane,
                                           int field) {
  for (int group = 0; group < groups; ++group) {
    float products[kImageGroup];
#pragma unroll
    for (int image = 0; image < kImageGroup; ++image) {
      const float weight = weights[group * kImageGroup + image];
      products[image] = 0.0f;
#pragma unroll
      for (int j = 0; j < kNumbers; ++j) {
        const float gradient =
            gradients[(group * kImageGroup + image) * kThreads * kNumbers + j * kThreads + threadIdx.x];
        of_numbers[j] += weight * gradient;
        products[image] += numbers.values[j] * gradient;
      }
    }
    const float sum = sum_over_lanes<kImageGroup>(products, lane);
    if (field >= 0) sums[group * kImageGroup + field] += sum;
  }
}

// All bases of a stretch, the next one's numbers asked for while this one's are computed.
template <int kNumbers>
__device__ __forceinline__ void update_bases(const UpdateArguments& a, const Stretch& stretch,
                                             const UpdateMemory<kNumbers>& memory, const float* rates) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int field = field_of_lane<kImageGroup>(lane), bases = static_cast<int>(a.sizes.bases);
  const int images = static_cast<int>(padded(a.sizes.all_images));
  const float rate = rates[kBasisMeanRate + stretch.part], correction = rates[kBasisCorrection];
  const float epsilon = rates[kBasisMeanEpsilon + stretch.part];
  Cursor<kNumbers> cursor(a.basis[stretch.part], stretch), ahead = cursor;
  Numbers<kNumbers> numbers, next;
  if (bases != 0) next.load(ahead);
  for (int k = 0; k < bases; ++k) {
    numbers = next;
    ahead.move_on(stretch.length);
    if (k + 1 < bases) next.load(ahead);
    float of_numbers[kNumbers] = {};
    sum_images<kNumbers>(memory.gradients, memory.weights + k * images, memory.sums + (warp * bases + k) * images,
                         images / kImageGroup, numbers, of_numbers, lane, field);
    numbers.update(cursor, of_numbers, rate, correction, epsilon);
    cursor.move_on(stretch.length);
  }
}

// A fixed share of the numbers for each block, in a fixed order: the sums come out the same in every run.
template <int kNumbers>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor) update_blended_kernel(const UpdateArguments a) {
  extern __shared__ float storage[];
  if (is_void(a)) return;
  const std::int64_t n = a.sizes.gaussians, all = a.sizes.all_images, images = padded(all), bases = a.sizes.bases;
  const UpdateMemory<kNumbers> memory(storage, all, bases);
  const float* rates = a.rates + a.state->row * kRates;
  for (std::int64_t i = threadIdx.x; i < images * bases; i += kThreads)
    memory.weights[i] = i % images < all ? a.network.weights[i % images * bases + i / images] : 0.0f;
  for (std::int64_t i = threadIdx.x; i < images * bases * kWarps; i += kThreads) memory.sums[i] = 0.0f;
  __syncthreads();  // for a block without a stretch, too
  const std::int64_t stretches =
      stretches_of_part<kNumbers>(n, 0) + stretches_of_part<kNumbers>(n, 1) + stretches_of_part<kNumbers>(n, 2);
  for (std::int64_t index = blockIdx.x; index < stretches; index += gridDim.x) {
    const Stretch stretch = find_stretch<kNumbers>(index, n);
    load_gradients<kNumbers>(a, stretch, memory.gradients);
    __syncthreads();
    update_base<kNumbers>(a, stretch, memory.gradients, rates);
    update_bases<kNumbers>(a, stretch, memory, rates);
    __syncthreads();
  }
  for (std::int64_t i = threadIdx.x; i < images * bases; i += kThreads) {
    const std::int64_t image = i % images, k = i / images;
    float sum = 0.0f;
    for (int warp = 0; warp < kWarps; ++warp) sum += memory.sums[warp * images * bases + i];
    if (image < all) a.partial_sums[(blockIdx.x * all + image) * bases + k] = sum;
  }
}

template <int kNumbers>
void launch_update(const UpdateArguments& a, cudaStream_t stream) {
  const std::size_t bytes = UpdateMemory<kNumbers>::bytes(a.sizes.all_images, a.sizes.bases);
  allow_shared_memory(update_blended_kernel<kNumbers>, bytes);
  update_blended_kernel<kNumbers><<<static_cast<unsigned>(update_blocks()), kThreads, bytes, stream>>>(a);
  check_launch("update_blended");
}

__device__ __forceinline__ float sum_of_processes(const UpdateArguments& a, std::int64_t offset) {
  float sum = 0.0f;
  for (std::int64_t r = 0; r < a.processes; ++r) sum += a.exchange[r * exchange_of(a).length() + offset];
  return sum;
}

// The first colour of a Gaussian is what the images show where it is plainly seen.
__device__ __forceinline__ void initialize_color(const UpdateArguments& a, std::int64_t gaussian) {
  const std::int64_t sums = exchange_of(a).color_sums();
  const float weight = sum_of_processes(a, sums + 3 * a.sizes.gaussians + gaussian);
  if (a.seen[gaussian] || !(weight > kMinBatchWeight)) return;
  for (int channel = 0; channel < 3; ++channel)
    a.base[2].value[3 * gaussian + channel] =
        (sum_of_processes(a, sums + 3 * gaussian + channel) / weight - 0.5f) / kHarmonic;
  a.seen[gaussian] = true;
}

// What is common to the images, and first colours.
__global__ void __launch_bounds__(kFinishThreads) update_common_kernel(const UpdateArguments a) {
  const std::int64_t gaussian = static_cast<std::int64_t>(blockIdx.x) * kFinishThreads + threadIdx.x;
  if (gaussian >= a.sizes.gaussians || is_void(a)) return;
  const Exchange exchange = exchange_of(a);
  const float* rates = a.rates + a.state->row * kRates;
  for (std::int64_t i = 3 * gaussian; i < 3 * gaussian + 3; ++i)
    adam(a.scale, i, sum_of_processes(a, exchange.scale() + i), rates[kScaleRate], rates[kCorrection],
         rates[kScaleEpsilon]);
  adam(a.opacity, gaussian, sum_of_processes(a, exchange.opacity() + gaussian), rates[kOpacityRate],
       rates[kCorrection], rates[kOpacityEpsilon]);
  if (a.seen) initialize_color(a, gaussian);
}

// The last kernel of a step.
__global__ void finish_step_kernel(const UpdateArguments a) {
  if (!is_void(a))
    ++a.state->row;
  else if (a.state->overflow == 0)
    a.state->overflow = 1;  // another process's
}

int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "finding the device");
  check(cudaDeviceGetAttribute(&value, attribute, device), "asking the device");
  return value;
}

}  // namespace

std::int64_t update_blocks() {
  return static_cast<std::int64_t>(kBlocksPerProcessor) * device_attribute(cudaDevAttrMultiProcessorCount);
}
bool fits_update(std::int64_t all_images, std::int64_t bases) {
  const std::size_t bytes = all_images <= kMostImagesForMany ? UpdateMemory<kMany>::bytes(all_images, bases)
                                                             : UpdateMemory<kFew>::bytes(all_images, bases);
  return bytes <= static_cast<std::size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
}

void update_blended(const UpdateArguments& a, cudaStream_t stream) {
  a.sizes.all_images <= kMostImagesForMany ? launch_update<kMany>(a, stream) : launch_update<kFew>(a, stream);
}

void update_common(const UpdateArguments& a, cudaStream_t stream) {
  update_common_kernel<<<blocks_for(a.sizes.gaussians, kFinishThreads), kFinishThreads, 0, stream>>>(a);
  check_launch("update_common");
}

void finish_step(const UpdateArguments& a, cudaStream_t stream) {
  finish_step_kernel<<<1, 1, 0, stream>>>(a);
  check_launch("finish_step");
}

}  // namespace gaussian_rasterization::cuda::fused
