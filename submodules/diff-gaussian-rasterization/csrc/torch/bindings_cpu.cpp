// The schemas, and the CPU's kernels under them. The one translation unit that includes torch; a CUDA build adds its
// own TORCH_LIBRARY_IMPL(gaussian_rasterization, CUDA, ...) over the same schemas and checks.
#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <tuple>

#include "../cpu/bind.h"
#include "../cpu/blend.h"
#include "../cpu/composite.h"
#include "checks.h"
#include "schema.h"

namespace gaussian_rasterization {
namespace {

using at::Tensor;

// One call of the function on each of torch's threads, so that torch.set_num_threads is honoured.
void run_on_all_threads(const std::function<void()>& function) {
  at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) function();
  });
}

struct Scene {
  Tensor means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background;

  Scene(const Tensor& means, const Tensor& rotations, const Tensor& scales, const Tensor& opacities,
        const Tensor& colors, const Tensor& world_to_camera, const Tensor& intrinsics, const Tensor& background)
      : means(means.contiguous()),
        rotations(rotations.contiguous()),
        scales(scales.contiguous()),
        opacities(opacities.contiguous()),
        colors(colors.contiguous()),
        world_to_camera(world_to_camera.contiguous()),
        intrinsics(intrinsics.contiguous()),
        background(background.contiguous()) {}

  std::int64_t images() const { return means.size(0); }
  std::int64_t gaussians() const { return means.size(1); }

  template <typename T>
  SceneArguments<T> arguments(std::int64_t width, std::int64_t height) const {
    SceneArguments<T> a{};
    a.images = images(), a.gaussians = gaussians(), a.width = width, a.height = height;
    a.means = means.const_data_ptr<T>(), a.rotations = rotations.const_data_ptr<T>(),
    a.scales = scales.const_data_ptr<T>();
    a.opacities = opacities.const_data_ptr<T>(), a.colors = colors.const_data_ptr<T>();
    a.world_to_camera = world_to_camera.const_data_ptr<T>(), a.intrinsics = intrinsics.const_data_ptr<T>();
    a.background = background.const_data_ptr<T>();
    a.scale_batch_stride = scales.dim() == 3 ? 3 * a.gaussians : 0;
    a.opacity_batch_stride = opacities.dim() == 2 ? a.gaussians : 0;
    a.camera_batch_stride = world_to_camera.size(0) == 1 ? 0 : 1;
    return a;
  }
};

struct Rendered {
  Tensor color, alpha, num_invalid, splats, bins;
};

// sweep(scene arguments, splats, bins, images): what is done with the bins.
template <typename T, typename Sweep>
Rendered render(const Scene& scene, std::int64_t width, std::int64_t height, const Sweep& sweep) {
  const SceneArguments<T> arguments = scene.arguments<T>(width, height);
  const at::TensorOptions options = scene.means.options(), ints = options.dtype(at::kInt);
  Rendered out{at::empty({arguments.images, 3, height, width}, options),
               at::empty({arguments.images, 1, height, width}, options), at::empty({arguments.images}, ints),
               at::empty({arguments.images, arguments.gaussians, kSplatFields}, options), Tensor()};
  auto* splats = reinterpret_cast<Splat<T>*>(out.splats.mutable_data_ptr<T>());
  const cpu::RunOnAllThreads run = run_on_all_threads;
  const cpu::Binning<T> binning(arguments, splats, out.num_invalid.mutable_data_ptr<std::int32_t>(), run);
  const std::int64_t tiles = cpu::grid_of(width, height).tiles();
  out.bins = at::empty({cpu::bins_length(arguments.images, arguments.gaussians, tiles, binning.pairs())}, ints);
  const cpu::Bins bins =
      cpu::view_bins(out.bins.mutable_data_ptr<std::int32_t>(), arguments.images, arguments.gaussians, tiles);
  binning.write(bins);
  const ImageArguments<T> images{out.color.mutable_data_ptr<T>(), out.alpha.mutable_data_ptr<T>()};
  sweep(arguments, splats, bins, images, run);
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rasterize(const Tensor& means, const Tensor& rotations,
                                                             const Tensor& scales, const Tensor& opacities,
                                                             const Tensor& colors, const Tensor& world_to_camera,
                                                             const Tensor& intrinsics, const Tensor& background,
                                                             std::int64_t width, std::int64_t height) {
  check_scene("rasterize", means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background, width,
              height);
  const Scene scene(means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background);
  Rendered out;
  AT_DISPATCH_FLOATING_TYPES(means.scalar_type(), "rasterize", [&] {
    out = render<scalar_t>(scene, width, height,
                           [](const auto&... arguments) { cpu::composite<scalar_t>(arguments...); });
  });
  return {out.color, out.alpha, out.num_invalid, out.splats, out.bins};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> rasterize_with_color_sums(
    const Tensor& means, const Tensor& rotations, const Tensor& scales, const Tensor& opacities, const Tensor& colors,
    const Tensor& world_to_camera, const Tensor& intrinsics, const Tensor& background, std::int64_t width,
    std::int64_t height, const Tensor& target_images, const Tensor& unseen) {
  constexpr const char* op = "rasterize_with_color_sums";
  check_scene(op, means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background, width, height);
  check_color_sums(op, means, width, height, target_images, unseen);
  const Scene scene(means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background);
  const Tensor targets = target_images.contiguous(), chosen = unseen.contiguous();
  const Tensor rgb = at::empty({scene.gaussians(), 3}, means.options()),
               weight = at::empty({scene.gaussians()}, means.options());
  Rendered out;
  AT_DISPATCH_FLOATING_TYPES(means.scalar_type(), op, [&] {
    const ColorSumArguments<scalar_t> sums{targets.const_data_ptr<std::uint8_t>(), chosen.const_data_ptr<bool>(),
                                           rgb.mutable_data_ptr<scalar_t>(), weight.mutable_data_ptr<scalar_t>()};
    out = render<scalar_t>(
        scene, width, height,
        [&](const auto& arguments, const auto& splats, const auto& bins, const auto& images, const auto& run) {
          cpu::composite_with_color_sums<scalar_t>(arguments, splats, bins, images, sums, run);
        });
  });
  return {out.color, out.alpha, out.num_invalid, out.splats, out.bins, rgb, weight};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rasterize_backward(
    const Tensor& grad_color, const Tensor& grad_alpha, const Tensor& color, const Tensor& alpha, const Tensor& splats,
    const Tensor& bins, const Tensor& means, const Tensor& rotations, const Tensor& scales, const Tensor& opacities,
    const Tensor& colors, const Tensor& world_to_camera, const Tensor& intrinsics, const Tensor& background) {
  constexpr const char* op = "rasterize_backward";
  const std::int64_t height = color.size(2), width = color.size(3);
  check_scene(op, means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background, width, height);
  const Scene scene(means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background);
  const Tensor saved[] = {color.contiguous(), alpha.contiguous(), grad_color.contiguous(), grad_alpha.contiguous()};
  const auto empty = [](const Tensor& like) { return at::empty(like.sizes(), like.options()); };
  // With no image at all, what is common to the batch still has a gradient: 0.
  const auto sum = [&](const Tensor& like) {
    return scene.images() == 0 ? at::zeros(like.sizes(), like.options()) : empty(like);
  };
  const Tensor out[] = {empty(means), empty(rotations), sum(scales), sum(opacities), empty(colors)};
  AT_DISPATCH_FLOATING_TYPES(means.scalar_type(), op, [&] {
    const auto in = [&](int i) { return saved[i].template const_data_ptr<scalar_t>(); };
    const auto to = [&](int i) { return out[i].template mutable_data_ptr<scalar_t>(); };
    const GradientArguments<scalar_t> gradients{in(0), in(1), in(2), in(3), to(0), to(1), to(2), to(3), to(4)};
    // Views of saved state: the backward pass only reads it.
    const cpu::Bins view = cpu::view_bins(const_cast<std::int32_t*>(bins.const_data_ptr<std::int32_t>()),
                                          scene.images(), scene.gaussians(), cpu::grid_of(width, height).tiles());
    cpu::composite_backward(scene.arguments<scalar_t>(width, height),
                            reinterpret_cast<const Splat<scalar_t>*>(splats.const_data_ptr<scalar_t>()), view,
                            gradients, run_on_all_threads);
  });
  return {out[0], out[1], out[2], out[3], out[4]};
}

Tensor blend(const Tensor& base, const Tensor& basis, const Tensor& weights) {
  check_blend("blend", base, basis, weights);
  const Tensor in[] = {base.contiguous(), basis.contiguous(), weights.contiguous()};
  const Tensor out = at::empty({weights.size(0), base.size(0), base.size(1)}, base.options());
  AT_DISPATCH_FLOATING_TYPES(base.scalar_type(), "blend", [&] {
    const BlendArguments<scalar_t> arguments{weights.size(0),
                                             weights.size(1),
                                             base.numel(),
                                             in[0].const_data_ptr<scalar_t>(),
                                             in[1].const_data_ptr<scalar_t>(),
                                             in[2].const_data_ptr<scalar_t>(),
                                             out.mutable_data_ptr<scalar_t>()};
    cpu::blend(arguments, run_on_all_threads);
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> blend_backward(const Tensor& grad_out, const Tensor& basis, const Tensor& weights) {
  const Tensor grad_base = at::empty({basis.size(1), basis.size(2)}, basis.options());
  check_blend("blend_backward", grad_base, basis, weights);
  check_like("blend_backward", "grad_out", grad_out, basis);
  check_shape("blend_backward", "grad_out", grad_out,
              {{'B', weights.size(0)}, {'N', basis.size(1)}, {'D', basis.size(2)}});
  const Tensor in[] = {basis.contiguous(), weights.contiguous(), grad_out.contiguous()};
  const Tensor grad_basis = at::empty(basis.sizes(), basis.options()),
               grad_weights = at::empty(weights.sizes(), weights.options());
  AT_DISPATCH_FLOATING_TYPES(basis.scalar_type(), "blend_backward", [&] {
    const BlendGradientArguments<scalar_t> arguments{weights.size(0),
                                                     weights.size(1),
                                                     grad_base.numel(),
                                                     in[0].const_data_ptr<scalar_t>(),
                                                     in[1].const_data_ptr<scalar_t>(),
                                                     in[2].const_data_ptr<scalar_t>(),
                                                     grad_base.mutable_data_ptr<scalar_t>(),
                                                     grad_basis.mutable_data_ptr<scalar_t>(),
                                                     grad_weights.mutable_data_ptr<scalar_t>()};
    cpu::blend_backward(arguments, run_on_all_threads);
  });
  return {grad_base, grad_basis, grad_weights};
}

// A mesh whose indices have been checked and brought to one type: int64, unless both are int32.
struct Mesh {
  Tensor vertices, faces, tangents, face_ids, barycentrics;

  Mesh(const char* op, const Tensor& vertices, const Tensor& faces, const Tensor& tangents, const Tensor& face_ids,
       const Tensor& barycentrics)
      : vertices(vertices.contiguous()), tangents(tangents.contiguous()), barycentrics(barycentrics.contiguous()) {
    const at::ScalarType type = at::promote_types(faces.scalar_type(), face_ids.scalar_type());
    this->faces = faces.to(type).contiguous(), this->face_ids = face_ids.to(type).contiguous();
    check_range(op, "faces", this->faces, vertices.size(1), "vertices");
    check_range(op, "face_ids", this->face_ids, faces.size(0), "faces");
  }
  static void check_range(const char* op, const char* name, const Tensor& indices, std::int64_t count, const char* of) {
    if (indices.numel() == 0) return;
    const auto [low, high] = at::aminmax(indices);
    const std::int64_t least = low.item<std::int64_t>(), most = high.item<std::int64_t>();
    TORCH_CHECK_INDEX(least >= 0 && most < count,
                      message(op, ": ", name, " runs from ", least, " to ", most, "; there are ", count, " ", of));
  }
  template <typename T, typename Index>
  MeshArguments<T, Index> arguments(const Tensor& rotations) const {
    return {rotations.size(0),
            rotations.size(1),
            vertices.size(1),
            faces.size(0),
            vertices.const_data_ptr<T>(),
            faces.const_data_ptr<Index>(),
            tangents.const_data_ptr<T>(),
            face_ids.const_data_ptr<Index>(),
            barycentrics.const_data_ptr<T>()};
  }
};

std::tuple<Tensor, Tensor> bind_to_mesh(const Tensor& means, const Tensor& rotations, const Tensor& vertices,
                                        const Tensor& faces, const Tensor& tangents, const Tensor& face_ids,
                                        const Tensor& barycentrics) {
  constexpr const char* op = "bind_to_mesh";
  check_mesh(op, rotations, vertices, faces, tangents, face_ids, barycentrics);
  check_like(op, "means", means, rotations);
  check_shape(op, "means", means, {{'B', rotations.size(0)}, {'N', rotations.size(1)}, {0, 3}});
  const Mesh mesh(op, vertices, faces, tangents, face_ids, barycentrics);
  const Tensor in[] = {means.contiguous(), rotations.contiguous()};
  const Tensor out[] = {at::empty(means.sizes(), means.options()), at::empty(rotations.sizes(), rotations.options())};
  AT_DISPATCH_FLOATING_TYPES(means.scalar_type(), op, [&] {
    const BindArguments<scalar_t> arguments{in[0].const_data_ptr<scalar_t>(), in[1].const_data_ptr<scalar_t>(),
                                            out[0].mutable_data_ptr<scalar_t>(), out[1].mutable_data_ptr<scalar_t>()};
    AT_DISPATCH_INDEX_TYPES(mesh.faces.scalar_type(), op, [&] {
      cpu::bind_to_mesh(mesh.arguments<scalar_t, index_t>(rotations), arguments, run_on_all_threads);
    });
  });
  return {out[0], out[1]};
}

std::tuple<Tensor, Tensor> bind_to_mesh_backward(const Tensor& grad_means, const Tensor& grad_rotations,
                                                 const Tensor& rotations, const Tensor& vertices, const Tensor& faces,
                                                 const Tensor& tangents, const Tensor& face_ids,
                                                 const Tensor& barycentrics) {
  constexpr const char* op = "bind_to_mesh_backward";
  check_mesh(op, rotations, vertices, faces, tangents, face_ids, barycentrics);
  const Size images{'B', rotations.size(0)}, gaussians{'N', rotations.size(1)};
  check_like(op, "grad_means", grad_means, rotations),
      check_shape(op, "grad_means", grad_means, {images, gaussians, {0, 3}});
  check_like(op, "grad_rotations", grad_rotations, rotations);
  check_shape(op, "grad_rotations", grad_rotations, {images, gaussians, {0, 4}});
  const Mesh mesh(op, vertices, faces, tangents, face_ids, barycentrics);
  const Tensor in[] = {rotations.contiguous(), grad_means.contiguous(), grad_rotations.contiguous()};
  const Tensor out[] = {at::empty(grad_means.sizes(), grad_means.options()),
                        at::empty(rotations.sizes(), rotations.options())};
  AT_DISPATCH_FLOATING_TYPES(rotations.scalar_type(), op, [&] {
    const BindGradientArguments<scalar_t> arguments{
        in[0].const_data_ptr<scalar_t>(), in[1].const_data_ptr<scalar_t>(), in[2].const_data_ptr<scalar_t>(),
        out[0].mutable_data_ptr<scalar_t>(), out[1].mutable_data_ptr<scalar_t>()};
    AT_DISPATCH_INDEX_TYPES(mesh.faces.scalar_type(), op, [&] {
      cpu::bind_to_mesh_backward(mesh.arguments<scalar_t, index_t>(rotations), arguments, run_on_all_threads);
    });
  });
  return {out[0], out[1]};
}

}  // namespace

TORCH_LIBRARY(gaussian_rasterization, library) { define_schemas(library); }

TORCH_LIBRARY_IMPL(gaussian_rasterization, CPU, library) {
  library.impl("rasterize", rasterize);
  library.impl("rasterize_with_color_sums", rasterize_with_color_sums);
  library.impl("rasterize_backward", rasterize_backward);
  library.impl("blend", blend);
  library.impl("blend_backward", blend_backward);
  library.impl("bind_to_mesh", bind_to_mesh);
  library.impl("bind_to_mesh_backward", bind_to_mesh_backward);
}

}  // namespace gaussian_rasterization
