// The CUDA kernels under the operators' schemas: float32, on the current stream of the tensors' device, memory from
// torch's allocator. With bindings_cpu.cpp and fused/ops.cpp, the only file of the library that includes torch.
#include <ATen/Functions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <vector>

#include "../torch/checks.h"
#include "../torch/schema.h"
#include "bind.h"
#include "blend.h"
#include "composite.h"

namespace gaussian_rasterization {
namespace {

using at::Tensor;

void check_float32(const char* op, const char* name, const Tensor& tensor) {
  TORCH_CHECK_TYPE(
      tensor.scalar_type() == at::kFloat,
      message(op, ": ", name, " is ", tensor.scalar_type(),
              "; expected float32, the only type that the CUDA kernels have (the CPU's have float64 too)"));
}

// Makes the tensors' device current, and holds the scratch memory of one operator until it returns.
class Launch {
 public:
  explicit Launch(const Tensor& like) : guard_(like.device()), bytes_(like.options().dtype(at::kByte)) {}
  cudaStream_t stream() const { return c10::cuda::getCurrentCUDAStream(); }
  cuda::Allocate allocate() {
    return [this](std::size_t bytes) {
      blocks_.push_back(at::empty({static_cast<std::int64_t>(std::max<std::size_t>(bytes, 1))}, bytes_));
      return blocks_.back().mutable_data_ptr();
    };
  }

 private:
  c10::cuda::CUDAGuard guard_;
  at::TensorOptions bytes_;
  std::vector<Tensor> blocks_;
};

// The scene's tensors, contiguous: means, rotations, scales, opacities, colors, world_to_camera, intrinsics,
// background.
class Scene {
 public:
  Scene(const char* op, const std::array<Tensor, 8>& t, std::int64_t width, std::int64_t height) : tensors_(t) {
    check_scene(op, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], width, height);
    check_float32(op, "means", t[0]);
    const std::int64_t most = std::numeric_limits<std::int32_t>::max(), tiles = cuda::grid_of(width, height).tiles();
    const std::int64_t images = t[0].size(0), gaussians = t[0].size(1);
    TORCH_CHECK_VALUE(images * gaussians < most && images * tiles < most,
                      message(op, ": ", images, " images of ", gaussians, " Gaussians and ", tiles,
                              " tiles; those of a batch are numbered in 32 bits: render it in parts"));
    const c10::cuda::CUDAGuard guard(t[0].device());
    for (Tensor& tensor : tensors_) tensor = tensor.contiguous();
    const auto data = [this](int i) { return tensors_[i].const_data_ptr<float>(); };
    arguments = {images,
                 gaussians,
                 width,
                 height,
                 data(0),
                 data(1),
                 data(2),
                 data(3),
                 data(4),
                 data(5),
                 data(6),
                 data(7),
                 t[2].dim() == 3 ? 3 * gaussians : 0,
                 t[3].dim() == 2 ? gaussians : 0,
                 t[5].size(0) == 1 ? 0 : 1};
  }

  SceneArguments<float> arguments;
  std::int64_t splats() const { return arguments.images * arguments.gaussians; }
  std::int64_t tiles() const { return arguments.images * cuda::grid_of(arguments.width, arguments.height).tiles(); }
  const Tensor& means() const { return tensors_[0]; }

 private:
  std::array<Tensor, 8> tensors_;
};

struct Rendered {
  Tensor color, alpha, num_invalid, splats, bins;
};

// Everything but the sweep over the tiles, for which it leaves the arguments; `images` are still to be written.
struct Prepared {
  Rendered out;
  cuda::CompositeArguments sweep;
  std::int64_t pairs;
};

Prepared prepare(const Scene& scene, Launch& launch) {
  const SceneArguments<float>& s = scene.arguments;
  const at::TensorOptions options = scene.means().options(), ints = options.dtype(at::kInt);
  Rendered out{at::empty({s.images, 3, s.height, s.width}, options),
               at::empty({s.images, 1, s.height, s.width}, options), at::empty({s.images}, ints),
               at::empty({s.images, s.gaussians, kSplatFields}, options), Tensor()};
  auto* splats = reinterpret_cast<Splat<float>*>(out.splats.mutable_data_ptr<float>());
  const cuda::Allocate allocate = launch.allocate();
  auto* slot_begin = cuda::allocate_array<std::int64_t>(allocate, scene.splats() + 1);
  const std::int64_t pairs = cuda::project_and_count_pairs(
      {s, splats, slot_begin, out.num_invalid.mutable_data_ptr<std::int32_t>()}, allocate, launch.stream());
  out.bins = at::empty({cuda::bins_length(scene.splats(), scene.tiles(), pairs)}, ints);
  const cuda::Bins bins = cuda::view_bins(out.bins.mutable_data_ptr<std::int32_t>(), scene.tiles(), pairs);
  cuda::write_bins({s.images, s.gaussians, s.width, s.height, splats, slot_begin, pairs, nullptr, nullptr, bins},
                   allocate, launch.stream());
  return {out, {s, splats, bins, {out.color.mutable_data_ptr<float>(), out.alpha.mutable_data_ptr<float>()}}, pairs};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rasterize(const Tensor& means, const Tensor& rotations,
                                                             const Tensor& scales, const Tensor& opacities,
                                                             const Tensor& colors, const Tensor& world_to_camera,
                                                             const Tensor& intrinsics, const Tensor& background,
                                                             std::int64_t width, std::int64_t height) {
  const Scene scene("rasterize", {means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background},
                    width, height);
  Launch launch(means);
  const auto [out, sweep, pairs] = prepare(scene, launch);
  cuda::composite(sweep, launch.stream());
  return {out.color, out.alpha, out.num_invalid, out.splats, out.bins};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> rasterize_with_color_sums(
    const Tensor& means, const Tensor& rotations, const Tensor& scales, const Tensor& opacities, const Tensor& colors,
    const Tensor& world_to_camera, const Tensor& intrinsics, const Tensor& background, std::int64_t width,
    std::int64_t height, const Tensor& target_images, const Tensor& unseen) {
  constexpr const char* op = "rasterize_with_color_sums";
  const Scene scene(op, {means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background}, width,
                    height);
  check_color_sums(op, means, width, height, target_images, unseen);
  Launch launch(means);
  const Tensor targets = target_images.contiguous(), chosen = unseen.contiguous();
  const std::int64_t gaussians = scene.arguments.gaussians;
  const Tensor rgb = at::empty({gaussians, 3}, means.options()), weight = at::empty({gaussians}, means.options());
  const ColorSumArguments<float> sums{targets.const_data_ptr<std::uint8_t>(), chosen.const_data_ptr<bool>(),
                                      rgb.mutable_data_ptr<float>(), weight.mutable_data_ptr<float>()};
  const auto [out, sweep, pairs] = prepare(scene, launch);
  cuda::composite_with_color_sums({sweep, sums, nullptr}, pairs, launch.allocate(), launch.stream());
  return {out.color, out.alpha, out.num_invalid, out.splats, out.bins, rgb, weight};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rasterize_backward(
    const Tensor& grad_color, const Tensor& grad_alpha, const Tensor& color, const Tensor& alpha, const Tensor& splats,
    const Tensor& bins, const Tensor& means, const Tensor& rotations, const Tensor& scales, const Tensor& opacities,
    const Tensor& colors, const Tensor& world_to_camera, const Tensor& intrinsics, const Tensor& background) {
  const Scene scene("rasterize_backward",
                    {means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background},
                    color.size(3), color.size(2));
  Launch launch(means);
  const Tensor in[] = {color.contiguous(), alpha.contiguous(), grad_color.contiguous(), grad_alpha.contiguous()};
  const auto empty = [](const Tensor& like) { return at::empty(like.sizes(), like.options()); };
  const Tensor out[] = {empty(means), empty(rotations), empty(scales), empty(opacities), empty(colors)};
  const auto from = [&](int i) { return in[i].const_data_ptr<float>(); };
  const auto to = [&](int i) { return out[i].mutable_data_ptr<float>(); };
  const GradientArguments<float> gradients{from(0), from(1), from(2), from(3), to(0), to(1), to(2), to(3), to(4)};
  const std::int64_t pairs = cuda::pairs_in_bins(scene.splats(), scene.tiles(), bins.numel());
  // Views of saved state: the backward pass only reads it.
  const cuda::Bins view =
      cuda::view_bins(const_cast<std::int32_t*>(bins.const_data_ptr<std::int32_t>()), scene.tiles(), pairs);
  cuda::composite_backward({scene.arguments, reinterpret_cast<const Splat<float>*>(splats.const_data_ptr<float>()),
                            view, gradients, nullptr},
                           pairs, launch.allocate(), launch.stream());
  return {out[0], out[1], out[2], out[3], out[4]};
}

Tensor blend(const Tensor& base, const Tensor& basis, const Tensor& weights) {
  check_blend("blend", base, basis, weights);
  check_float32("blend", "base", base);
  Launch launch(base);
  const Tensor in[] = {base.contiguous(), basis.contiguous(), weights.contiguous()};
  const Tensor out = at::empty({weights.size(0), base.size(0), base.size(1)}, base.options());
  cuda::blend({weights.size(0), weights.size(1), base.numel(), in[0].const_data_ptr<float>(),
               in[1].const_data_ptr<float>(), in[2].const_data_ptr<float>(), out.mutable_data_ptr<float>()},
              launch.stream());
  return out;
}

std::tuple<Tensor, Tensor, Tensor> blend_backward(const Tensor& grad_out, const Tensor& basis, const Tensor& weights) {
  constexpr const char* op = "blend_backward";
  check_leading(op, "basis", basis, "[K, N, D]", 3, -1);
  check_float32(op, "basis", basis);
  Launch launch(basis);
  const Tensor grad_base = at::empty({basis.size(1), basis.size(2)}, basis.options());
  check_blend(op, grad_base, basis, weights);
  check_like(op, "grad_out", grad_out, basis);
  check_shape(op, "grad_out", grad_out, {{'B', weights.size(0)}, {'N', basis.size(1)}, {'D', basis.size(2)}});
  const Tensor in[] = {basis.contiguous(), weights.contiguous(), grad_out.contiguous()};
  const Tensor grad_basis = at::empty(basis.sizes(), basis.options()),
               grad_weights = at::empty(weights.sizes(), weights.options());
  cuda::blend_backward(
      {weights.size(0), weights.size(1), grad_base.numel(), in[0].const_data_ptr<float>(),
       in[1].const_data_ptr<float>(), in[2].const_data_ptr<float>(), grad_base.mutable_data_ptr<float>(),
       grad_basis.mutable_data_ptr<float>(), grad_weights.mutable_data_ptr<float>()},
      launch.allocate(), launch.stream());
  return {grad_base, grad_basis, grad_weights};
}

// A mesh whose indices have been brought to one type: int64, unless both are int32. Whether they are in range, bind.h
// tells.
class Mesh {
 public:
  Mesh(const char* op, const Tensor& rotations, const Tensor& vertices, const Tensor& faces, const Tensor& tangents,
       const Tensor& face_ids, const Tensor& barycentrics)
      : images_(rotations.size(0)), gaussians_(rotations.size(1)) {
    check_mesh(op, rotations, vertices, faces, tangents, face_ids, barycentrics);
    check_float32(op, "rotations", rotations);
    const c10::cuda::CUDAGuard guard(rotations.device());
    const at::ScalarType type = at::promote_types(faces.scalar_type(), face_ids.scalar_type());
    vertices_ = vertices.contiguous(), tangents_ = tangents.contiguous(), barycentrics_ = barycentrics.contiguous();
    faces_ = faces.to(type).contiguous(), face_ids_ = face_ids.to(type).contiguous();
  }
  bool has_short_indices() const { return faces_.scalar_type() == at::kInt; }
  template <typename Index>
  MeshArguments<float, Index> arguments() const {
    return {images_,
            gaussians_,
            vertices_.size(1),
            faces_.size(0),
            vertices_.const_data_ptr<float>(),
            faces_.const_data_ptr<Index>(),
            tangents_.const_data_ptr<float>(),
            face_ids_.const_data_ptr<Index>(),
            barycentrics_.const_data_ptr<float>()};
  }

 private:
  std::int64_t images_, gaussians_;
  Tensor vertices_, faces_, tangents_, face_ids_, barycentrics_;
};

std::tuple<Tensor, Tensor> bind_to_mesh(const Tensor& means, const Tensor& rotations, const Tensor& vertices,
                                        const Tensor& faces, const Tensor& tangents, const Tensor& face_ids,
                                        const Tensor& barycentrics) {
  constexpr const char* op = "bind_to_mesh";
  check_leading(op, "rotations", rotations, "[B, N, 4]", 3, 4);
  check_like(op, "means", means, rotations);
  check_shape(op, "means", means, {{'B', rotations.size(0)}, {'N', rotations.size(1)}, {0, 3}});
  const Mesh mesh(op, rotations, vertices, faces, tangents, face_ids, barycentrics);
  Launch launch(rotations);
  const Tensor in[] = {means.contiguous(), rotations.contiguous()};
  const Tensor out[] = {at::empty(means.sizes(), means.options()), at::empty(rotations.sizes(), rotations.options())};
  const BindArguments<float> bind{in[0].const_data_ptr<float>(), in[1].const_data_ptr<float>(),
                                  out[0].mutable_data_ptr<float>(), out[1].mutable_data_ptr<float>()};
  if (mesh.has_short_indices())
    cuda::bind_to_mesh<std::int32_t>({mesh.arguments<std::int32_t>(), bind}, launch.stream());
  else
    cuda::bind_to_mesh<std::int64_t>({mesh.arguments<std::int64_t>(), bind}, launch.stream());
  return {out[0], out[1]};
}

std::tuple<Tensor, Tensor> bind_to_mesh_backward(const Tensor& grad_means, const Tensor& grad_rotations,
                                                 const Tensor& rotations, const Tensor& vertices, const Tensor& faces,
                                                 const Tensor& tangents, const Tensor& face_ids,
                                                 const Tensor& barycentrics) {
  constexpr const char* op = "bind_to_mesh_backward";
  check_leading(op, "rotations", rotations, "[B, N, 4]", 3, 4);
  const Size images{'B', rotations.size(0)}, gaussians{'N', rotations.size(1)};
  check_like(op, "grad_means", grad_means, rotations),
      check_shape(op, "grad_means", grad_means, {images, gaussians, {0, 3}});
  check_like(op, "grad_rotations", grad_rotations, rotations);
  check_shape(op, "grad_rotations", grad_rotations, {images, gaussians, {0, 4}});
  const Mesh mesh(op, rotations, vertices, faces, tangents, face_ids, barycentrics);
  Launch launch(rotations);
  const Tensor in[] = {rotations.contiguous(), grad_means.contiguous(), grad_rotations.contiguous()};
  const Tensor out[] = {at::empty(grad_means.sizes(), grad_means.options()),
                        at::empty(rotations.sizes(), rotations.options())};
  const BindGradientArguments<float> bind{in[0].const_data_ptr<float>(), in[1].const_data_ptr<float>(),
                                          in[2].const_data_ptr<float>(), out[0].mutable_data_ptr<float>(),
                                          out[1].mutable_data_ptr<float>()};
  if (mesh.has_short_indices())
    cuda::bind_to_mesh_backward<std::int32_t>({mesh.arguments<std::int32_t>(), bind}, launch.stream());
  else
    cuda::bind_to_mesh_backward<std::int64_t>({mesh.arguments<std::int64_t>(), bind}, launch.stream());
  return {out[0], out[1]};
}

}  // namespace

TORCH_LIBRARY_IMPL(gaussian_rasterization, CUDA, library) {
  library.impl("rasterize", rasterize);
  library.impl("rasterize_with_color_sums", rasterize_with_color_sums);
  library.impl("rasterize_backward", rasterize_backward);
  library.impl("blend", blend);
  library.impl("blend_backward", blend_backward);
  library.impl("bind_to_mesh", bind_to_mesh);
  library.impl("bind_to_mesh_backward", bind_to_mesh_backward);
}

}  // namespace gaussian_rasterization
