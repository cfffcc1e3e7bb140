// The network that weighs the bases, C - H - H - K with ReLU: forward, backward and Adam. It is small, and what counts
// is the number of launches.
#include "schedule.cuh"

namespace gaussian_rasterization::cuda::fused {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kUpdateThreads = 256;

constexpr int kOutputsAhead = 4;  // whose weights are on the way at once

// out[j] = bias[j] + sum_i weight[j, i] in[i], one warp an output.
__device__ __forceinline__ void apply_layer(const float* in, int inputs, const float* weight, const float* bias,
                                            int outputs, bool rectify, float* out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  for (int first = warp; first < outputs; first += kWarps * kOutputsAhead) {
    float sums[kOutputsAhead] = {};
    for (int i = lane; i < inputs; i += kWarpSize) {
      const float value = in[i];
#pragma unroll
      for (int j = 0; j < kOutputsAhead; ++j)
        if (first + j * kWarps < outputs) sums[j] += weight[(first + j * kWarps) * inputs + i] * value;
    }
#pragma unroll
    for (int j = 0; j < kOutputsAhead; ++j) {
      const int output = first + j * kWarps;
      for (int mask = kWarpSize / 2; mask > 0; mask /= 2) sums[j] += __shfl_xor_sync(0xffffffffu, sums[j], mask);
      if (lane != 0 || output >= outputs) continue;
      const float sum = sums[j] + bias[output];
      out[output] = rectify ? larger(0.0f, sum) : sum;
    }
  }
  __syncthreads();
}

struct ForwardArguments {
  Sizes sizes;
  const State* state;
  Frames frames;
  Network network;
};

// One block for each image of the whole batch.
__global__ void __launch_bounds__(kThreads) network_forward_kernel(const ForwardArguments a) {
  const Network& n = a.network;
  if (a.state->overflow != 0) return;
  const std::int64_t image = blockIdx.x, slot = a.frames.slots[a.state->row * a.sizes.all_images + image];
  float* hidden[2] = {n.hidden_values[0] + image * n.hidden, n.hidden_values[1] + image * n.hidden};
  const int inputs = static_cast<int>(n.code_width), width = static_cast<int>(n.hidden);
  apply_layer(a.frames.codes + slot * n.code_width, inputs, n.weight[0].value, n.bias[0].value, width, true, hidden[0]);
  apply_layer(hidden[0], width, n.weight[1].value, n.bias[1].value, width, true, hidden[1]);
  apply_layer(hidden[1], width, n.weight[2].value, n.bias[2].value, static_cast<int>(n.bases), false,
              n.weights + image * n.bases);
}

// in[i] = [value[i] > 0] sum_j weight[j, i] gradient[j]. The block's threads are rows of kSide, and each row takes a
// share of the outputs j.
constexpr int kSide = 128, kShares = kThreads / kSide;
__device__ __forceinline__ void apply_transposed(const float* gradient, int outputs, const float* weight, int inputs,
                                                 const float* value, float* in, float (&parts)[kShares][kSide]) {
  const int column = static_cast<int>(threadIdx.x) % kSide, share = static_cast<int>(threadIdx.x) / kSide;
  for (int first = 0; first < inputs; first += kSide) {
    const int i = first + column;
    float sum = 0.0f;
    if (i < inputs) {
#pragma unroll 8
      for (int j = share; j < outputs; j += kShares) sum += weight[j * inputs + i] * gradient[j];
    }
    parts[share][column] = sum;
    __syncthreads();
    if (share == 0 && i < inputs) {
      for (int other = 1; other < kShares; ++other) sum += parts[other][column];
      in[i] = value[i] > 0.0f ? sum : 0.0f;
    }
    __syncthreads();
  }
}

// Gradients to the outputs of all layers, one block for each image of the whole batch. The weights' is summed over the
// parts that the blocks of update_blended left; in double: hundreds of parts of one sum.
__global__ void __launch_bounds__(kThreads) network_backward_kernel(const UpdateArguments a, std::int64_t parts) {
  __shared__ float parts_of_inputs[kShares][kSide];
  const Network& n = a.network;
  const std::int64_t image = blockIdx.x, pairs = a.sizes.all_images * n.bases;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  float* gradient = n.weight_gradients + image * n.bases;
  for (std::int64_t k = threadIdx.x / kWarpSize; k < n.bases; k += kWarps) {
    double sum = 0.0;
    for (std::int64_t part = lane; part < parts; part += kWarpSize)
      sum += static_cast<double>(a.partial_sums[part * pairs + image * n.bases + k]);
    for (int mask = kWarpSize / 2; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    if (lane == 0) gradient[k] = static_cast<float>(sum);
  }
  __syncthreads();
  float* hidden[2] = {n.hidden_gradients[0] + image * n.hidden, n.hidden_gradients[1] + image * n.hidden};
  const int width = static_cast<int>(n.hidden);
  apply_transposed(gradient, static_cast<int>(n.bases), n.weight[2].value, width, n.hidden_values[1] + image * n.hidden,
                   hidden[1], parts_of_inputs);
  apply_transposed(hidden[1], width, n.weight[1].value, width, n.hidden_values[0] + image * n.hidden, hidden[0],
                   parts_of_inputs);
}

struct LayerSide {
  const float* values;
  std::int64_t width;
};
__device__ __forceinline__ LayerSide inputs_of(const UpdateArguments& a, int layer, std::int64_t image) {
  const Network& n = a.network;
  if (layer > 0) return {n.hidden_values[layer - 1] + image * n.hidden, n.hidden};
  const std::int64_t slot = a.frames.slots[a.state->row * a.sizes.all_images + image];
  return {a.frames.codes + slot * n.code_width, n.code_width};
}
__device__ __forceinline__ LayerSide output_gradients_of(const Network& n, int layer, std::int64_t image) {
  if (layer < kLayers - 1) return {n.hidden_gradients[layer] + image * n.hidden, n.hidden};
  return {n.weight_gradients + image * n.bases, n.bases};
}

// One thread for each parameter of a layer (blockIdx.y): weights row by row, then biases.
__global__ void __launch_bounds__(kUpdateThreads) update_network_kernel(const UpdateArguments a) {
  const Network& n = a.network;
  const int layer = static_cast<int>(blockIdx.y);
  const std::int64_t inputs = layer == 0 ? n.code_width : n.hidden, outputs = layer < kLayers - 1 ? n.hidden : n.bases;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kUpdateThreads + threadIdx.x;
  if (i >= (inputs + 1) * outputs || is_void(a)) return;
  const bool is_weight = i < inputs * outputs;
  const std::int64_t output = is_weight ? i / inputs : i - inputs * outputs, input = is_weight ? i % inputs : 0;
  float gradient = 0.0f;
  for (std::int64_t image = 0; image < a.sizes.all_images; ++image) {
    const float value = is_weight ? inputs_of(a, layer, image).values[input] : 1.0f;
    gradient += output_gradients_of(n, layer, image).values[output] * value;
  }
  const float* rates = a.rates + a.state->row * kRates;
  const Trained& trained = is_weight ? n.weight[layer] : n.bias[layer];
  const std::int64_t number = is_weight ? i : output;
  const float doubt = a.corrections.count == 0 ? 1.0f : *a.corrections.doubt;
  trained.value[number] *= 1.0f - rates[kNetworkFade] * doubt;
  adam(trained, number, gradient, rates[kNetworkRate], rates[kBasisCorrection]);
}

}  // namespace

void network_forward(const Sizes& sizes, const State* state, const Frames& frames, const Network& network,
                     cudaStream_t stream) {
  network_forward_kernel<<<static_cast<unsigned>(sizes.all_images), kThreads, 0, stream>>>(
      ForwardArguments{sizes, state, frames, network});
  check_launch("network_forward");
}

void update_network(const UpdateArguments& a, cudaStream_t stream) {
  const auto images = static_cast<unsigned>(a.sizes.all_images);
  network_backward_kernel<<<images, kThreads, 0, stream>>>(a, update_blocks());
  check_launch("network_backward");
  const Network& n = a.network;
  const std::int64_t most = (larger(n.code_width, n.hidden) + 1) * larger(n.hidden, n.bases);
  update_network_kernel<<<dim3(blocks_for(most, kUpdateThreads), kLayers), kUpdateThreads, 0, stream>>>(a);
  check_launch("update_network");
}

}  // namespace gaussian_rasterization::cuda::fused
