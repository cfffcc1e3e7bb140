// The fused path under torch: tensors are checked and taken apart, nothing is allocated, nothing waits. The package
// gaussian_rasterization.fused is the only caller.
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <string>

#include "../../torch/checks.h"
#include "../../torch/schema.h"
#include "workspace.h"

namespace gaussian_rasterization {
namespace {

using at::Tensor;
using at::TensorList;
using namespace cuda::fused;

// Positions in the lists of tensors.
enum FrameTensor { kImages, kVertices, kCodes, kWorldToCamera, kIntrinsics, kSlots, kBackground, kFrameTensors };
// Nothing at all where the tracking is not corrected. A table is values, averages, squares, visits.
enum CorrectionTensor { kTurns, kShifts = 4, kMiddles = 8, kFramesOfImages, kCorrectionTensors };
enum CorrectionNumber {
  kTurnRate,
  kShiftRate,
  kTurnStiffness,
  kShiftStiffness,
  kDoubtTurn,
  kLeastDoubt,
  kCorrectionNumbers
};
enum MeshTensor { kFaces, kTangents, kFaceIds, kBarycentrics, kMeshTensors };
enum AvatarTensor { kBase, kLogScale = 3, kOpacityLogit, kBasis, kNetwork = 8, kAvatarTensors = 14 };

const Tensor& checked(const char* op, const char* name, const Tensor& tensor, at::ScalarType type,
                      std::int64_t dimensions, const Tensor& like) {
  check_device(op, name, tensor, like);
  check_type(op, name, tensor, type);
  TORCH_CHECK_VALUE(
      tensor.dim() == dimensions && tensor.is_contiguous(),
      message(op, ": ", name, " has shape ", tensor.sizes(), "; expected ", dimensions, " axes, contiguous"));
  return tensor;
}

void check_count(const char* op, const char* name, TensorList tensors, std::int64_t expected) {
  TORCH_CHECK_VALUE(
      static_cast<std::int64_t>(tensors.size()) == expected,
      message(op, ": ", name, " has ", static_cast<std::int64_t>(tensors.size()), " tensors; expected ", expected));
}

template <typename T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(const_cast<void*>(tensor.const_data_ptr()));
}

// Work beside the current stream: it begins when what is there has ended, and `join` makes the current stream wait for
// it. Both are recorded where the current stream is being recorded.
class Branch {
 public:
  Branch() : side_(c10::cuda::getStreamFromPool()) {
    begin_.record(c10::cuda::getCurrentCUDAStream());
    begin_.block(side_);
  }
  cudaStream_t stream() const { return side_; }
  void join() {
    end_.record(side_);
    end_.block(c10::cuda::getCurrentCUDAStream());
  }

 private:
  c10::cuda::CUDAStream side_;
  at::cuda::CUDAEvent begin_, end_;
};

// The first kernels of a step: from codes to the lists of the tiles.
void fill_lists(const Sizes& sizes, const PoseArguments& arguments, const Network& network, bool half_bases) {
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  Branch faces;
  pose_faces(arguments, faces.stream());
  if (sizes.bases != 0) network_forward(sizes, arguments.state, arguments.frames, network, stream);
  faces.join();
  pose(arguments, half_bases, stream);
  Branch order;
  order_tiles(sizes, arguments.lists, order.stream());
  place_pairs(arguments, stream);
  order.join();
}

// Everything of one call, taken apart.
class Call {
 public:
  // sizes: first_image, images, all_images, bases that take part, width, height, capacity
  Call(const char* op, TensorList frames, TensorList mesh, TensorList values, at::IntArrayRef sizes, bool training)
      : op_(op), training_(training), values_(values), guard_(values[0].device()) {
    check_count(op, "frames", frames, kFrameTensors), check_count(op, "mesh", mesh, kMeshTensors);
    check_count(op, "values", values, kAvatarTensors);
    TORCH_CHECK_VALUE(sizes.size() == 7, message(op, ": sizes has ", sizes, "; expected 7 numbers"));
    sizes_ = {sizes[1], sizes[2], sizes[0], values[0].size(0), sizes[3], sizes[4], sizes[5], sizes[6]};
    TORCH_CHECK_VALUE(sizes_.first_image >= 0 && sizes_.first_image + sizes_.images <= sizes_.all_images &&
                          sizes_.splats() < (1LL << 31) && sizes_.tiles() < (1LL << 31) - 1 &&
                          sizes_.capacity < (1LL << 31) && sizes_.images > 0 && sizes_.gaussians > 0,
                      message(op, ": sizes ", sizes, " are empty, or too large for 31 bits"));
    read_frames(frames), read_mesh(mesh, frames[kVertices]), read_avatar(values);
  }

  cudaStream_t stream() const { return c10::cuda::getCurrentCUDAStream(); }
  const Sizes& sizes() const { return sizes_; }

  WorkspaceSizes workspace_sizes() const {
    Sizes sizes = sizes_;
    sizes.bases = values_[kBasis].size(0);
    return {sizes, frames_.code_width, values_[kNetwork].size(0), mesh_.faces, training_};
  }
  Workspace workspace(const Tensor& block) const {
    const Workspace found(workspace_sizes(), data<std::byte>(checked(op_, "workspace", block, at::kByte, 1, like())));
    TORCH_CHECK_VALUE(block.numel() >= found.bytes(),
                      message(op_, ": workspace has ", block.numel(), " bytes; expected ", found.bytes()));
    return found;
  }
  State* state(const Tensor& tensor) const {
    return reinterpret_cast<State*>(data<std::int64_t>(checked(op_, "state", tensor, at::kLong, 1, like())));
  }
  Network network(const Workspace& workspace, TensorList averages, TensorList squares) const {
    Network n{};
    for (int layer = 0; layer < kLayers; ++layer) {
      n.weight[layer] = trained(kNetwork + 2 * layer, averages, squares);
      n.bias[layer] = trained(kNetwork + 2 * layer + 1, averages, squares);
    }
    n.code_width = frames_.code_width, n.hidden = values_[kNetwork].size(0), n.bases = values_[kBasis].size(0);
    for (int i = 0; i < 2; ++i)
      n.hidden_values[i] = workspace.hidden_values[i], n.hidden_gradients[i] = workspace.hidden_gradients[i];
    n.weights = workspace.weights, n.weight_gradients = workspace.weight_gradients;
    return n;
  }
  // averages and squares are empty where nothing is trained.
  Trained trained(int tensor, TensorList averages, TensorList squares) const {
    if (averages.empty()) return {data<float>(values_[tensor]), nullptr, nullptr};
    return {data<float>(values_[tensor]), data<float>(averages[tensor]), data<float>(squares[tensor])};
  }
  PoseArguments pose_arguments(const Workspace& workspace, State* state, const bool* seen,
                               const Tensor& num_invalid) const {
    return {
        sizes_,  state,           frames_,
        avatar_, mesh_,           workspace.weights,
        seen,    workspace.lists, data<std::int32_t>(checked(op_, "num_invalid", num_invalid, at::kInt, 1, like()))};
  }
  // The corrections of the tracking, whose cameras are used from here on; none where there are no tensors.
  Corrections correct(const Workspace& workspace, TensorList tensors, at::ArrayRef<double> numbers) {
    if (tensors.empty()) return {};
    check_count(op_, "corrections", tensors, kCorrectionTensors);
    TORCH_CHECK_VALUE(numbers.size() == kCorrectionNumbers,
                      message(op_, ": corrections have ", static_cast<std::int64_t>(numbers.size()), " numbers; expected ",
                              static_cast<std::int64_t>(kCorrectionNumbers)));
    const std::int64_t count = tensors[kMiddles].size(0);
    const auto& frames = checked(op_, "frames of images", tensors[kFramesOfImages], at::kInt, 2, like());
    frames_.corrected = workspace.cameras;
    return {table(tensors, kTurns, count, numbers[kTurnRate], numbers[kTurnStiffness]),
            table(tensors, kShifts, count, numbers[kShiftRate], numbers[kShiftStiffness]),
            floats("middles", tensors[kMiddles], 3 * count), data<std::int32_t>(frames), count,
            static_cast<float>(numbers[kDoubtTurn]), static_cast<float>(numbers[kLeastDoubt]), workspace.doubt};
  }
  const Frames& frames() const { return frames_; }
  const Avatar& avatar() const { return avatar_; }
  const MeshArguments<float, std::int32_t>& mesh() const { return mesh_; }
  const Tensor& like() const { return values_[0]; }
  bool has_half_bases() const { return values_[kBasis].scalar_type() == at::kHalf; }
  float* floats(const char* name, const Tensor& tensor, std::int64_t least) const {
    check_device(op_, name, tensor, like()), check_type(op_, name, tensor, at::kFloat);
    TORCH_CHECK_VALUE(tensor.is_contiguous() && tensor.numel() >= least,
                      message(op_, ": ", name, " has ", tensor.numel(), " elements; expected ", least));
    return data<float>(tensor);
  }

 private:
  FrameTable table(TensorList tensors, int first, std::int64_t count, double rate, double stiffness) const {
    const auto numbers = [&](int i, std::int64_t each) {
      return floats("corrections", tensors[first + i], each * count);
    };
    return {numbers(0, 3), numbers(1, 3), numbers(2, 3), numbers(3, 1), static_cast<float>(rate),
            static_cast<float>(stiffness)};
  }
  void read_frames(TensorList f) {
    const auto floats = [&](int i, const char* name, std::int64_t axes) {
      return data<float>(checked(op_, name, f[i], at::kFloat, axes, like()));
    };
    const std::int64_t slots = f[kVertices].size(0);
    if (training_) {
      checked(op_, "images", f[kImages], at::kByte, 4, like());
      check_shape(op_, "images", f[kImages], {{'S', slots}, {'H', sizes_.height}, {'W', sizes_.width}, {0, 4}});
    }
    frames_ = {data<std::uint8_t>(f[kImages]),
               floats(kVertices, "vertices", 3),
               floats(kCodes, "codes", 2),
               floats(kWorldToCamera, "world_to_camera", 3),
               floats(kIntrinsics, "intrinsics", 2),
               f[kCodes].size(1),
               f[kWorldToCamera].size(0) == 1 ? 0 : 1,
               data<std::int32_t>(checked(op_, "slots", f[kSlots], at::kInt, 2, like())),
               floats(kBackground, "background", 3),
               nullptr};
  }
  void read_mesh(TensorList m, const Tensor& vertices) {
    mesh_ = {vertices.size(0),
             sizes_.gaussians,
             vertices.size(1),
             m[kFaces].size(0),
             data<float>(vertices),
             data<std::int32_t>(checked(op_, "faces", m[kFaces], at::kInt, 2, like())),
             data<float>(checked(op_, "tangents", m[kTangents], at::kFloat, 2, like())),
             data<std::int32_t>(checked(op_, "face_ids", m[kFaceIds], at::kInt, 1, like())),
             data<float>(checked(op_, "barycentrics", m[kBarycentrics], at::kFloat, 2, like()))};
  }
  void read_avatar(TensorList v) {
    const std::int64_t n = sizes_.gaussians, bases = v[kBasis].size(0);
    const at::ScalarType basis_type = training_ ? at::kFloat : v[kBasis].scalar_type();
    for (int part = 0; part < kParts; ++part) {
      checked(op_, "base", v[kBase + part], at::kFloat, 2, like());
      check_shape(op_, "base", v[kBase + part], {{'N', n}, {0, part_width(part)}});
      checked(op_, "basis", v[kBasis + part], basis_type, 3, like());
      check_shape(op_, "basis", v[kBasis + part], {{'K', bases}, {'N', n}, {0, part_width(part)}});
      avatar_.base[part] = data<float>(v[kBase + part]), avatar_.basis[part] = data<void>(v[kBasis + part]);
    }
    check_shape(op_, "log_scale", checked(op_, "log_scale", v[kLogScale], at::kFloat, 2, like()), {{'N', n}, {0, 3}});
    check_shape(op_, "opacity_logit", checked(op_, "opacity_logit", v[kOpacityLogit], at::kFloat, 1, like()),
                {{'N', n}});
    avatar_.log_scale = data<float>(v[kLogScale]), avatar_.opacity_logit = data<float>(v[kOpacityLogit]);
    check_network(v, bases);
  }
  void check_network(TensorList v, std::int64_t bases) {
    const std::int64_t hidden = v[kNetwork].size(0);
    const std::int64_t widths[] = {frames_.code_width, hidden, hidden, bases};
    for (int layer = 0; layer < kLayers; ++layer) {
      const Tensor &weight = v[kNetwork + 2 * layer], &bias = v[kNetwork + 2 * layer + 1];
      check_shape(op_, "network weight", checked(op_, "network weight", weight, at::kFloat, 2, like()),
                  {{0, widths[layer + 1]}, {0, widths[layer]}});
      check_shape(op_, "network bias", checked(op_, "network bias", bias, at::kFloat, 1, like()),
                  {{0, widths[layer + 1]}});
    }
  }

  const char* op_;
  bool training_;
  TensorList values_;
  c10::cuda::CUDAGuard guard_;
  Sizes sizes_;
  Frames frames_;
  Avatar avatar_;
  MeshArguments<float, std::int32_t> mesh_;
};

std::int64_t workspace_bytes(TensorList frames, TensorList mesh, TensorList values, at::IntArrayRef sizes,
                             bool training) {
  const Call call("fused_workspace_bytes", frames, mesh, values, sizes, training);
  TORCH_CHECK_VALUE(!training || fits_update(call.sizes().all_images, values[kBasis].size(0)),
                    message("fused_workspace_bytes: ", call.sizes().all_images,
                            " images of a batch do not fit this device's shared memory"));
  return Workspace(call.workspace_sizes(), nullptr).bytes();
}

std::int64_t exchange_length(std::int64_t gaussians, std::int64_t images) {
  return Exchange{gaussians, images}.length();
}

void gradients(TensorList frames, TensorList mesh, TensorList values, const Tensor& seen, const Tensor& state,
               const Tensor& exchange, const Tensor& errors, const Tensor& num_invalid, const Tensor& workspace,
               TensorList corrections, at::ArrayRef<double> correction_numbers, at::IntArrayRef sizes,
               double loss_scale, double structure, bool color_init) {
  Call call("fused_gradients", frames, mesh, values, sizes, true);
  const Workspace w = call.workspace(workspace);
  State* s = call.state(state);
  const cudaStream_t stream = call.stream();
  const Sizes& n = call.sizes();
  const Exchange layout{n.gaussians, n.images};
  float* block = call.floats("exchange", exchange, layout.length());
  const Corrections corrected = call.correct(w, corrections, correction_numbers);
  if (corrected.count != 0) correct_cameras(n, s, call.frames(), corrected, w.cameras, stream);
  fill_lists(n, call.pose_arguments(w, s, color_init ? data<bool>(seen) : nullptr, num_invalid),
             call.network(w, {}, {}), false);
  sweep_loss({n, s, call.frames(), w.lists, w.live, color_init ? block + layout.color_sums() : nullptr,
              call.floats("errors", errors, kErrors * n.images), static_cast<float>(structure)},
             stream);
  local_gradients({n, s, call.frames(), call.avatar(), call.mesh(), w.lists, block, static_cast<float>(loss_scale)},
                  stream);
}

void update(TensorList frames, TensorList mesh, TensorList values, TensorList averages, TensorList squares,
            const Tensor& seen, const Tensor& state, const Tensor& rates, const Tensor& exchange,
            const Tensor& workspace, TensorList corrections, at::ArrayRef<double> correction_numbers,
            at::IntArrayRef sizes, bool color_init) {
  constexpr const char* op = "fused_update";
  Call call(op, frames, mesh, values, sizes, true);
  check_count(op, "averages", averages, kAvatarTensors), check_count(op, "squares", squares, kAvatarTensors);
  for (int i = 0; i < kAvatarTensors; ++i)
    for (const Tensor* tensor : {&averages[i], &squares[i]})
      TORCH_CHECK_VALUE(tensor->sizes() == values[i].sizes() && tensor->is_contiguous() &&
                            tensor->device() == values[i].device() && tensor->scalar_type() == at::kFloat,
                        message(op, ": an average of Adam has shape ", tensor->sizes(), "; expected ",
                                values[i].sizes(), ", as the parameter has"));
  const Workspace w = call.workspace(workspace);
  const Sizes& n = call.sizes();
  UpdateArguments a{};
  a.sizes = n, a.state = call.state(state), a.frames = call.frames();
  a.rates = call.floats("rates", rates, kRates);
  a.processes = n.all_images / n.images;
  TORCH_CHECK_VALUE(
      a.processes * n.images == n.all_images,
      message(op, ": ", n.all_images, " images; expected a multiple of the ", n.images, " of each process"));
  const Exchange layout{n.gaussians, n.images};
  a.exchange = call.floats("exchange", exchange, a.processes * layout.length());
  for (int part = 0; part < kParts; ++part) {
    a.base[part] = call.trained(kBase + part, averages, squares);
    a.basis[part] = call.trained(kBasis + part, averages, squares);
  }
  a.scale = call.trained(kLogScale, averages, squares), a.opacity = call.trained(kOpacityLogit, averages, squares);
  a.seen = color_init ? data<bool>(seen) : nullptr;
  a.network = call.network(w, averages, squares);
  a.partial_sums = w.partial_sums;
  a.corrections = call.correct(w, corrections, correction_numbers);
  update_blended(a, call.stream());
  Branch common;
  update_common(a, common.stream());
  if (a.corrections.count != 0) update_corrections(a, common.stream());
  if (n.bases != 0) update_network(a, call.stream());
  common.join();
  finish_step(a, call.stream());
}

void render(TensorList frames, TensorList mesh, TensorList values, const Tensor& state, const Tensor& num_invalid,
            const Tensor& workspace, at::IntArrayRef sizes, const std::optional<Tensor>& pictures,
            const std::optional<Tensor>& color, const std::optional<Tensor>& alpha) {
  constexpr const char* op = "fused_render";
  const Call call(op, frames, mesh, values, sizes, false);
  const Workspace w = call.workspace(workspace);
  State* s = call.state(state);
  const Sizes& n = call.sizes();
  const std::int64_t pixels = n.images * n.width * n.height;
  RenderArguments a{n, s, call.frames().background, w.lists, nullptr, nullptr, nullptr};
  if (pictures) {
    checked(op, "pictures", *pictures, at::kByte, 4, call.like());
    check_shape(op, "pictures", *pictures, {{'B', n.images}, {'H', n.height}, {'W', n.width}, {0, 4}});
    a.pictures = data<std::uint8_t>(*pictures);
  }
  if (color && alpha)
    a.color = call.floats("color", *color, 3 * pixels), a.alpha = call.floats("alpha", *alpha, pixels);
  fill_lists(n, call.pose_arguments(w, s, nullptr, num_invalid), call.network(w, {}, {}), call.has_half_bases());
  sweep_render(a, call.stream());
}

}  // namespace

TORCH_LIBRARY_IMPL(gaussian_rasterization, CUDA, library) {
  library.impl("fused_workspace_bytes", workspace_bytes);
  library.impl("fused_gradients", gradients);
  library.impl("fused_update", update);
  library.impl("fused_render", render);
}
TORCH_LIBRARY_IMPL(gaussian_rasterization, CompositeExplicitAutograd, library) {
  library.impl("fused_exchange_length", exchange_length);
  library.impl("fused_fits_device", fits_update);
}

}  // namespace gaussian_rasterization
