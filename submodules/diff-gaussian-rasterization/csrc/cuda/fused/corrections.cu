// Small corrections of the tracking, learnt beside the avatar: a turn and a shift of the head in each frame.
//
// Moving the head is moving the camera the other way. So a step finds a corrected camera for each of its images, and what
// the images ask of a frame's turn and shift is the force and the torque that their Gaussians feel together.
//
// Symbols: w a turn, axis times angle; R = exp(w) its rotation; s a shift; m the middle of the mesh, which is turned about;
// x a point of the scene as tracked, R (x - m) + m + s where it is moved to; [w] the matrix of the cross product with w.
#include "../warp_sum.cuh"
#include "schedule.cuh"

namespace gaussian_rasterization::cuda::fused {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr float kSmallSquare = 1e-2f;  // of an angle, below which series are nearer than what rounding leaves of quotients
constexpr float kLogBeta1 = -0.105360516f, kLogBeta2 = -0.00100050033f;

// Of an angle, from its square: sin(t)/t, (1 - cos t)/t^2, (t - sin t)/t^3.
struct Coefficients {
  float sine, versine, rest;
};
__device__ __forceinline__ Coefficients coefficients_of(float square) {
  if (square < kSmallSquare)
    return {1.0f + square * (-1.0f / 6.0f + square * (1.0f / 120.0f)),
            0.5f + square * (-1.0f / 24.0f + square * (1.0f / 720.0f)),
            1.0f / 6.0f + square * (-1.0f / 120.0f + square * (1.0f / 5040.0f))};
  const float angle = sqrtf(square), sine = sinf(angle) / angle;
  return {sine, (1.0f - cosf(angle)) / square, (1.0f - sine) / square};
}

// exp(w) v = v + sine w x v + versine w x (w x v) (Rodrigues).
__device__ __forceinline__ Vec3<float> turned(Vec3<float> turn, Vec3<float> v) {
  const Coefficients c = coefficients_of(dot(turn, turn));
  const Vec3<float> once = cross(turn, v);
  return v + c.sine * once + c.versine * cross(turn, once);
}
// The gradient to w from the torque t = dL/dd of exp(w) exp(d) at d = 0: with the right Jacobian of exp,
// (I - versine [w] + rest [w]^2)^T t (Solà et al. 2018, Eq. 143).
__device__ __forceinline__ Vec3<float> turn_gradient(Vec3<float> turn, Vec3<float> torque) {
  const Coefficients c = coefficients_of(dot(turn, turn));
  const Vec3<float> once = cross(turn, torque);
  return torque + c.versine * once + c.rest * cross(turn, once);
}

struct CameraArguments {
  Sizes sizes;
  const State* state;
  Frames frames;
  Corrections corrections;
  float* cameras;  // [M, kCorrectedCamera]
};

// The root mean square of all turns over the one that is taken for wrong. One block.
__device__ __forceinline__ void measure_doubt(const Corrections& c) {
  __shared__ float sums[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  float squares[1] = {};
  if (c.doubt_turn > 0.0f)
    for (std::int64_t i = threadIdx.x; i < 3 * c.count; i += kThreads)
      squares[0] += c.turns.value[i] * c.turns.value[i];
  float sum = sum_over_lanes<1>(squares, lane);
  if (lane == 0) sums[warp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int other = 1; other < kWarps; ++other) sum += sums[other];
  const float ratio = c.doubt_turn > 0.0f ? sqrtf(sum / static_cast<float>(c.count)) / c.doubt_turn : 1.0f;
  *c.doubt = fminf(fmaxf(ratio, c.least_doubt), 1.0f);
}

// A thread for each image of the whole batch: the camera W R, W (m + s - R m) + t, and the middle. The last block finds the
// doubt.
__global__ void __launch_bounds__(kThreads) correct_cameras_kernel(const CameraArguments a) {
  if (blockIdx.x == gridDim.x - 1) {
    measure_doubt(a.corrections);
    return;
  }
  const std::int64_t image = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (a.state->overflow != 0 || image >= a.sizes.all_images) return;
  const std::int64_t index = a.state->row * a.sizes.all_images + image;
  const std::int64_t frame = a.corrections.frames[index];
  const float* from = a.frames.world_to_camera + 12 * a.frames.camera_stride * a.frames.slots[index];
  const Vec3<float> turn = load_vec3(a.corrections.turns.value + 3 * frame);
  const Vec3<float> shift = load_vec3(a.corrections.shifts.value + 3 * frame);
  const Vec3<float> middle = load_vec3(a.corrections.middles + 3 * frame);
  const Vec3<float> back = -1.0f * turn, moved = middle + shift - turned(turn, middle);
  float* to = a.cameras + kCorrectedCamera * image;
  for (int i = 0; i < 3; ++i) {
    const Vec3<float> axis = load_vec3(from + 4 * i);
    store_vec3(to + 4 * i, turned(back, axis));  // a row of W R
    to[4 * i + 3] = dot(axis, moved) + from[4 * i + 3];
  }
  store_vec3(to + 12, middle);
}

// Adam on a frame's three numbers; its bias corrections count the frame's own visits.
__device__ __forceinline__ void update_frame(const FrameTable& table, std::int64_t frame, Vec3<float> gradient,
                                             float occurrences) {
  const float visits = table.visits[frame] + 1.0f;
  table.visits[frame] = visits;
  const float rate = table.rate / -expm1f(visits * kLogBeta1), correction = rsqrtf(-expm1f(visits * kLogBeta2));
  const float of_axes[] = {gradient.x, gradient.y, gradient.z};
  const Trained trained{table.value, table.average, table.square};
  for (int axis = 0; axis < 3; ++axis) {
    const std::int64_t i = 3 * frame + axis;
    adam(trained, i, of_axes[axis] + occurrences * table.stiffness * table.value[i], rate, correction);
  }
}

// Takes away what all rows [F, 3] have in common. All threads of the block take part.
__device__ __forceinline__ void center(float* values, std::int64_t count, float (&sums)[kWarps][3]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  float parts[3] = {};
  for (std::int64_t frame = threadIdx.x; frame < count; frame += kThreads)
    for (int axis = 0; axis < 3; ++axis) parts[axis] += values[3 * frame + axis];
  const float sum = sum_over_lanes<3>(parts, lane);
  const int field = field_of_lane<3>(lane);
  __syncthreads();  // what was before may still be read
  if (field >= 0) sums[warp][field] = sum;
  __syncthreads();
  float means[3] = {};
  for (int axis = 0; axis < 3; ++axis) {
    for (int other = 0; other < kWarps; ++other) means[axis] += sums[other][axis];
    means[axis] /= static_cast<float>(count);
  }
  for (std::int64_t frame = threadIdx.x; frame < count; frame += kThreads)
    for (int axis = 0; axis < 3; ++axis) values[3 * frame + axis] -= means[axis];
}

__device__ __forceinline__ const float* motion_of_image(const UpdateArguments& a, std::int64_t image) {
  const Exchange exchange = exchange_of(a);
  return a.exchange + image / a.sizes.images * exchange.length() + exchange.motion(image % a.sizes.images);
}

// A thread takes the images of a frame that a batch shows for the first time; a frame may be shown twice in one.
__device__ __forceinline__ void update_shown(const UpdateArguments& a, std::int64_t image) {
  const Corrections& c = a.corrections;
  const std::int32_t* frames = c.frames + a.state->row * a.sizes.all_images;
  const std::int32_t frame = frames[image];
  for (std::int64_t before = 0; before < image; ++before)
    if (frames[before] == frame) return;
  Vec3<float> force{}, torque{};
  float occurrences = 0.0f;
  for (std::int64_t other = image; other < a.sizes.all_images; ++other) {
    if (frames[other] != frame) continue;
    force = force + load_vec3(motion_of_image(a, other)), torque = torque + load_vec3(motion_of_image(a, other) + 3);
    occurrences += 1.0f;
  }
  const Vec3<float> turn = load_vec3(c.turns.value + 3 * frame);
  update_frame(c.shifts, frame, turned(turn, force), occurrences);
  update_frame(c.turns, frame, turn_gradient(turn, torque), occurrences);
}

// One block.
__global__ void __launch_bounds__(kThreads) update_corrections_kernel(const UpdateArguments a) {
  __shared__ float sums[kWarps][3];
  if (is_void(a)) return;
  for (std::int64_t image = threadIdx.x; image < a.sizes.all_images; image += kThreads) update_shown(a, image);
  __syncthreads();
  center(a.corrections.turns.value, a.corrections.count, sums);
  center(a.corrections.shifts.value, a.corrections.count, sums);
}

}  // namespace

void correct_cameras(const Sizes& sizes, const State* state, const Frames& frames, const Corrections& corrections,
                     float* cameras, cudaStream_t stream) {
  correct_cameras_kernel<<<blocks_for(sizes.all_images, kThreads) + 1, kThreads, 0, stream>>>(
      CameraArguments{sizes, state, frames, corrections, cameras});
  check_launch("correct_cameras");
}

void update_corrections(const UpdateArguments& a, cudaStream_t stream) {
  update_corrections_kernel<<<1, kThreads, 0, stream>>>(a);
  check_launch("update_corrections");
}

}  // namespace gaussian_rasterization::cuda::fused
