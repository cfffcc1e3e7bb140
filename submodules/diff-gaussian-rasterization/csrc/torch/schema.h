// The operators' schemas: one for each, common to all devices. Backends register kernels under the same names.
//
// splats [B, N, 12]: the projected Gaussians (core/projection.h, Splat). bins: one int32 vector in the backend's own
// layout, of a length that depends on the scene. Both are what the backward operator needs of the forward one.
#pragma once

#include <torch/library.h>

namespace gaussian_rasterization {

// The fused path, on CUDA alone (cuda/fused/arguments.h). What is annotated is changed in place.
inline void define_fused_schemas(torch::Library& library) {
  library.def(
      "fused_workspace_bytes(Tensor[] frames, Tensor[] mesh, Tensor[] values, int[] sizes, bool training) -> int");
  library.def("fused_exchange_length(int gaussians, int images) -> int");
  library.def("fused_fits_device(int all_images, int bases) -> bool");
  library.def(
      "fused_gradients(Tensor[] frames, Tensor[] mesh, Tensor[] values, Tensor seen, Tensor(a!) state, Tensor(b!) "
      "exchange, Tensor(c!) errors, Tensor(d!) num_invalid, Tensor(e!) workspace, Tensor[] corrections, float[] "
      "correction_numbers, int[] sizes, float loss_scale, float structure, bool color_init) -> ()");
  library.def(
      "fused_update(Tensor[] frames, Tensor[] mesh, Tensor(a!)[] values, Tensor(b!)[] averages, Tensor(c!)[] squares, "
      "Tensor(d!) seen, Tensor(e!) state, Tensor rates, Tensor exchange, Tensor(f!) workspace, Tensor(g!)[] "
      "corrections, float[] correction_numbers, int[] sizes, bool color_init) -> ()");
  library.def(
      "fused_render(Tensor[] frames, Tensor[] mesh, Tensor[] values, Tensor(a!) state, Tensor(b!) num_invalid, "
      "Tensor(c!) workspace, int[] sizes, Tensor(d!)? pictures, Tensor(e!)? color, Tensor(f!)? alpha) -> ()");
}

inline void define_schemas(torch::Library& library) {
  library.def(
      "rasterize(Tensor means, Tensor rotations, Tensor scales, Tensor opacities, Tensor colors, Tensor "
      "world_to_camera, "
      "Tensor intrinsics, Tensor background, SymInt width, SymInt height) "
      "-> (Tensor color, Tensor alpha, Tensor num_invalid, Tensor splats, Tensor bins)");
  library.def(
      "rasterize_with_color_sums(Tensor means, Tensor rotations, Tensor scales, Tensor opacities, Tensor colors, "
      "Tensor world_to_camera, Tensor intrinsics, Tensor background, SymInt width, SymInt height, Tensor "
      "target_images, Tensor unseen) "
      "-> (Tensor color, Tensor alpha, Tensor num_invalid, Tensor splats, Tensor bins, Tensor rgb, Tensor weight)");
  library.def(
      "rasterize_backward(Tensor grad_color, Tensor grad_alpha, Tensor color, Tensor alpha, Tensor splats, Tensor "
      "bins, "
      "Tensor means, Tensor rotations, Tensor scales, Tensor opacities, Tensor colors, Tensor world_to_camera, Tensor "
      "intrinsics, "
      "Tensor background) -> (Tensor means, Tensor rotations, Tensor scales, Tensor opacities, Tensor colors)");
  library.def("blend(Tensor base, Tensor basis, Tensor weights) -> Tensor");
  library.def(
      "blend_backward(Tensor grad_out, Tensor basis, Tensor weights) -> (Tensor base, Tensor basis, Tensor weights)");
  library.def(
      "bind_to_mesh(Tensor means, Tensor rotations, Tensor vertices, Tensor faces, Tensor tangents, Tensor face_ids, "
      "Tensor barycentrics) -> (Tensor means, Tensor rotations)");
  library.def(
      "bind_to_mesh_backward(Tensor grad_means, Tensor grad_rotations, Tensor rotations, Tensor vertices, Tensor "
      "faces, "
      "Tensor tangents, Tensor face_ids, Tensor barycentrics) -> (Tensor means, Tensor rotations)");
  define_fused_schemas(library);
}

}  // namespace gaussian_rasterization
