// The fused path: a training step, or a rendering, as a fixed sequence of kernels without autograd between them.
//
// It computes what the plain operators compute one by one, from the same arithmetic of core/. Nothing in it waits for
// the host and no size depends on the scene, so that the sequence can be recorded once as a CUDA graph: what changes
// from step to step is a row of a schedule in device memory, chosen by a counter that the last kernel moves on.
//
// Symbols as in core/arguments.h. M images of the whole batch over all processes, B of them on this device; S slots
// for frames; R processes.
#pragma once

#include "../../core/arguments.h"
#include "../bins.h"

namespace gaussian_rasterization::cuda::fused {

// What a Gaussian blends: mean, rotation, colour, in this order.
inline constexpr int kParts = 3;
GR_HD int part_width(int part) { return part == 1 ? 4 : 3; }
GR_HD int part_offset(int part) { return part == 0 ? 0 : part == 1 ? 3 : 7; }  // of a part's numbers among all
inline constexpr int kBlendedFields = 10;
inline constexpr int kFaceVectors = 6;  // of 16 bytes, of a posed face (faces.cuh)
inline constexpr int kCorrectedCamera = 16;  // numbers: world_to_camera [3, 4], the middle of the mesh [3]
inline constexpr int kErrors = 3;            // sums of an image that the loss is told by (SweepArguments::errors)
inline constexpr int kMotionFields = 6;      // force and torque on the head (corrections.cu)
inline constexpr int kGaussiansPerBlock = kWarpSize;
inline constexpr int kPoseThreads = kGaussiansPerBlock * kBlendedFields;  // one thread for each blended number

// Device memory that steers the sequence.
struct State {
  std::int64_t row;       // of the schedule
  std::int64_t overflow;  // 0; or the pairs that the buffers would have had to hold: from then on nothing changes
  std::int64_t pairs;     // the most pairs of a step so far
};

// Frames on the device, and which of them each step takes.
struct Frames {
  const std::uint8_t* images;    // [S, H, W, 4] straight RGBA
  const float* vertices;         // [S, V, 3]
  const float* codes;            // [S, C]
  const float* world_to_camera;  // [S or 1, 3, 4]
  const float* intrinsics;       // [S or 1, 4]
  std::int64_t code_width;
  std::int64_t camera_stride;  // 1 camera, or 0
  const std::int32_t* slots;   // [rows, M]
  const float* background;     // [rows, M, 3]
  const float* corrected;      // [M, kCorrectedCamera] of this step; null: the tracking is not corrected
};

// Learning rates of Adam over its first bias correction, in the order of the optimiser's groups, and 1 / sqrt of its
// second one for the parameters that train from the start and for those that join later; then the share of the network's
// numbers that weight decay takes; and Adam's epsilon for all groups but the network, in the same order.
enum Rate : int {
  kMeanRate,
  kRotationRate,
  kColorRate,
  kOpacityRate,
  kScaleRate,
  kBasisMeanRate,
  kBasisRotationRate,
  kBasisColorRate,
  kNetworkRate,
  kCorrection,
  kBasisCorrection,
  kNetworkFade,
  kMeanEpsilon,
  kRotationEpsilon,
  kColorEpsilon,
  kOpacityEpsilon,
  kScaleEpsilon,
  kBasisMeanEpsilon,
  kBasisRotationEpsilon,
  kBasisColorEpsilon,
  kRates
};

struct Sizes {
  std::int64_t images;         // B
  std::int64_t all_images;     // M
  std::int64_t first_image;    // of this device, within the M
  std::int64_t gaussians;      // N
  std::int64_t bases;          // K; 0 while the base trains alone
  std::int64_t width, height;  // pixels
  std::int64_t capacity;       // pairs that the buffers hold
  GR_HD std::int64_t splats() const { return images * gaussians; }
  GR_HD std::int64_t tiles() const { return images * grid_of(width, height).tiles(); }
};

// The avatar. Basis numbers are float, or half in the inference path.
struct Avatar {
  const float* base[kParts];   // [N, 3], [N, 4], [N, 3]
  const void* basis[kParts];   // [K, N, 3], [K, N, 4], [K, N, 3]
  const float* log_scale;      // [N, 3]
  const float* opacity_logit;  // [N]
};

// Splats of the batch and the lists of the tiles.
struct Lists {
  Splat<float>* splats;      // [B, N]; opacity 0: reaches no pixel
  float4* faces;             // [B, F, kFaceVectors]: see faces.cuh
  float4* rotations;         // [B, N] blended, in the triangle's frame; null where no gradient follows
  float4* moments;           // [B, N, 3], the first 9 numbers SplatMoments; null likewise
  std::int32_t* tile_pairs;  // [tiles + 1]: pairs of a tile; counted down to 0 as they are placed
  std::int32_t* tile_begin;  // [tiles + 1]: pairs before a tile
  std::int32_t* tile_order;  // [tiles]: which tile each block sweeps
  std::uint64_t* keys;       // [capacity]: depth above entry; within a tile in any order
  std::uint32_t* entries;    // [capacity]: 2 splat + unseen, front to back within a tile once it is swept
  void* scan_storage;
  std::size_t scan_bytes;
};

struct PoseArguments {
  Sizes sizes;
  State* state;
  Frames frames;
  Avatar avatar;
  MeshArguments<float, std::int32_t> mesh;  // of the slots
  const float* weights;                     // [M, K]
  const bool* seen;                         // [N]; null: colours are not initialised
  Lists lists;
  std::int32_t* num_invalid;  // [rows]
};

// In this order, though pose_faces may run beside the network and order_tiles beside place_pairs: pose the faces;
// blend, activate, bind, project and count the pairs of each tile; put the pairs into their tiles; say which tile is
// swept when.
void pose_faces(const PoseArguments& arguments, cudaStream_t stream);
void pose(const PoseArguments& arguments, bool half_bases, cudaStream_t stream);
void place_pairs(const PoseArguments& arguments, cudaStream_t stream);
void order_tiles(const Sizes& sizes, const Lists& lists, cudaStream_t stream);
std::size_t scan_bytes(std::int64_t tiles);

// Forward sweep, loss, backward sweep.
struct SweepArguments {
  Sizes sizes;
  State* state;
  Frames frames;
  Lists lists;
  std::uint32_t* live;  // [live_words()]: which of 32 entries a warp's pixels composited
  float* color_sums;    // [N, 3], [N]: added to; null: colours are not initialised
  float* errors;        // [rows, B, kErrors]: sums of |difference|, of its square, and of 1 - SSIM where it is computed
  float structure;      // weight of 1 - SSIM, where that of |difference| is 1
};
std::int64_t live_words(const Sizes& sizes);
void sweep_loss(const SweepArguments& arguments, cudaStream_t stream);

// What the devices exchange, a block for each process: gradients to the blended numbers of its images, and the sums of
// its images for what is common to them; force and torque on the head in each.
struct Exchange {
  std::int64_t gaussians, images;  // N, B
  GR_HD std::int64_t part(int part) const { return part_offset(part) * gaussians; }
  GR_HD std::int64_t image(std::int64_t index) const { return index * kBlendedFields * gaussians; }
  GR_HD std::int64_t scale() const { return image(images); }
  GR_HD std::int64_t opacity() const { return scale() + 3 * gaussians; }
  GR_HD std::int64_t color_sums() const { return opacity() + gaussians; }
  GR_HD std::int64_t overflow() const { return color_sums() + 4 * gaussians; }
  GR_HD std::int64_t motion(std::int64_t image) const { return overflow() + 4 + 8 * image; }
  GR_HD std::int64_t length() const { return motion(images); }
};

struct GradientsArguments {
  Sizes sizes;
  State* state;
  Frames frames;
  Avatar avatar;
  MeshArguments<float, std::int32_t> mesh;
  Lists lists;
  float* exchange;  // this process's block
  float scale;      // of the loss: its weight over the number of its terms
};
void local_gradients(const GradientsArguments& arguments, cudaStream_t stream);

// A parameter and Adam's averages of its gradient.
struct Trained {
  float *value, *average, *square;
};

// Three numbers of each frame, learnt as it is shown: value, average, square [F, 3], visits [F]. stiffness: times a number,
// the gradient of what keeps it small.
struct FrameTable {
  float *value, *average, *square, *visits;
  float rate, stiffness;
};
// Corrections of the tracking of F frames (corrections.cu): turns, axis times angle, and shifts, in the world's axes.
struct Corrections {
  FrameTable turns, shifts;
  const float* middles;           // [F, 3] of their meshes
  const std::int32_t* frames;     // [rows, M]: which frame an image shows
  std::int64_t count;             // F; 0: the tracking is not corrected
  float doubt_turn, least_doubt;  // radians, at which doubt is 1 (0: it always is); and what it is at least
  float* doubt;                   // [1] how wrong the tracking is found to be: that share of the decay is taken
};
// Before the faces are posed: the cameras of the images of this step, with the middles, to cameras; and the doubt.
void correct_cameras(const Sizes& sizes, const State* state, const Frames& frames, const Corrections& corrections,
                     float* cameras, cudaStream_t stream);

// The network that weighs the bases: C - H - H - K.
inline constexpr int kLayers = 3;
struct Network {
  Trained weight[kLayers], bias[kLayers];  // [outputs, inputs], [outputs]
  std::int64_t code_width, hidden, bases;
  float* hidden_values[2];     // [M, H]
  float* hidden_gradients[2];  // [M, H]
  float* weights;              // [M, K]
  float* weight_gradients;     // [M, K]
};
void network_forward(const Sizes& sizes, const State* state, const Frames& frames, const Network& network,
                     cudaStream_t stream);

struct UpdateArguments {
  Sizes sizes;
  State* state;
  Frames frames;
  const float* rates;     // [rows, kRates]
  const float* exchange;  // [R] blocks
  std::int64_t processes;
  Trained base[kParts], basis[kParts], scale, opacity;
  bool* seen;  // [N]; null: colours are not initialised
  Network network;
  float* partial_sums;  // [update_blocks(), M, K]
  Corrections corrections;
};
std::int64_t update_blocks();
bool fits_update(std::int64_t all_images, std::int64_t bases);  // in shared memory
// The blended numbers first; then what is common to the images, the network, and the corrections, in any order; then the
// state.
void update_blended(const UpdateArguments& arguments, cudaStream_t stream);
void update_common(const UpdateArguments& arguments, cudaStream_t stream);
void update_network(const UpdateArguments& arguments, cudaStream_t stream);
void update_corrections(const UpdateArguments& arguments, cudaStream_t stream);
void finish_step(const UpdateArguments& arguments, cudaStream_t stream);

// The inference path's sweep: straight into a picture, or into planes.
struct RenderArguments {
  Sizes sizes;
  State* state;
  const float* background;  // [B, 3]
  Lists lists;
  std::uint8_t* pictures;  // [B, H, W, 4] colour over the background, coverage; or null
  float *color, *alpha;    // [B, 3, H, W], [B, 1, H, W]; or null
};
void sweep_render(const RenderArguments& arguments, cudaStream_t stream);

}  // namespace gaussian_rasterization::cuda::fused
