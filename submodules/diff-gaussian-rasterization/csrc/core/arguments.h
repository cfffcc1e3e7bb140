// What each kernel is given: one struct per kernel, plain pointers to contiguous row-major arrays on the kernel's
// device.
//
// B images, N Gaussians, K bases, V vertices, F faces, E = N * D elements of one blended attribute. A camera or an
// attribute that is common to the batch has a batch stride of 0.
#pragma once

#include <cstdint>

#include "projection.h"

namespace gaussian_rasterization {

// The scene, as rasterize() is given it.
template <typename T>
struct SceneArguments {
  std::int64_t images, gaussians, width, height;
  const T* means;                     // [B, N, 3]
  const T* rotations;                 // [B, N, 4] w, x, y, z
  const T* scales;                    // [N, 3] or [B, N, 3]
  const T* opacities;                 // [N] or [B, N]
  const T* colors;                    // [B, N, 3]
  const T* world_to_camera;           // [C, 3, 4]
  const T* intrinsics;                // [C, 4]
  const T* background;                // [B, 3]
  std::int64_t scale_batch_stride;    // 3 N, or 0
  std::int64_t opacity_batch_stride;  // N, or 0
  std::int64_t camera_batch_stride;   // 1 camera, or 0
};

template <typename T>
GR_HD Gaussian<T> load_gaussian(const SceneArguments<T>& scene, std::int64_t image, std::int64_t index) {
  const std::int64_t i = image * scene.gaussians + index;
  return {load_vec3(scene.means + 3 * i), load_quaternion(scene.rotations + 4 * i),
          load_vec3(scene.scales + image * scene.scale_batch_stride + 3 * index),
          scene.opacities[image * scene.opacity_batch_stride + index], load_vec3(scene.colors + 3 * i)};
}

template <typename T>
GR_HD Camera<T> load_camera(const SceneArguments<T>& scene, std::int64_t image) {
  const std::int64_t c = image * scene.camera_batch_stride;
  return load_camera(scene.world_to_camera + 12 * c, scene.intrinsics + 4 * c, scene.width, scene.height);
}

// What compositing writes. Planar images.
template <typename T>
struct ImageArguments {
  T* color;  // [B, 3, H, W], over the background
  T* alpha;  // [B, 1, H, W]: 1 - the transmittance behind the last Gaussian
};

// What colour initialisation reads and writes beside the images.
template <typename T>
struct ColorSumArguments {
  const std::uint8_t* targets;  // [B, H, W, 4] straight RGBA
  const bool* unseen;           // [N]
  T* rgb;                       // [N, 3]
  T* weight;                    // [N]
};

// The backward sweep: the finished images, the gradients to them, and the gradients it writes (every element, once).
template <typename T>
struct GradientArguments {
  const T* color;       // [B, 3, H, W] as rendered
  const T* alpha;       // [B, 1, H, W]
  const T* grad_color;  // [B, 3, H, W]
  const T* grad_alpha;  // [B, 1, H, W]
  T* grad_means;        // [B, N, 3]
  T* grad_rotations;    // [B, N, 4]
  T* grad_scales;       // like scales
  T* grad_opacities;    // like opacities
  T* grad_colors;       // [B, N, 3]
};

// out[b, e] = base[e] + sum_k weights[b, k] basis[k, e].
template <typename T>
struct BlendArguments {
  std::int64_t images, bases, elements;
  const T* base;     // [E]
  const T* basis;    // [K, E]
  const T* weights;  // [B, K]
  T* out;            // [B, E]
};

template <typename T>
struct BlendGradientArguments {
  std::int64_t images, bases, elements;
  const T* basis;     // [K, E]
  const T* weights;   // [B, K]
  const T* grad_out;  // [B, E]
  T* grad_base;       // [E]: sum_b grad_out[b, e]
  T* grad_basis;      // [K, E]: sum_b weights[b, k] grad_out[b, e]
  T* grad_weights;    // [B, K]: sum_e grad_out[b, e] basis[k, e]
};

// The mesh that Gaussians are bound to. The CPU backend has checked faces and face ids at the border; CUDA, which would
// have to wait for them, checks them where it uses them (cuda/bind.h).
template <typename T, typename Index>
struct MeshArguments {
  std::int64_t images, gaussians, vertices, faces;
  const T* vertex_positions;   // [B, V, 3]
  const Index* face_vertices;  // [F, 3]
  const T* tangents;           // [F, 2] (a, b): tangent direction a e1 + b e2
  const Index* face_ids;       // [N]
  const T* barycentrics;       // [N, 3]
};

template <typename T>
struct BindArguments {
  const T* means;      // [B, N, 3] in the triangle's frame
  const T* rotations;  // [B, N, 4]
  T* world_means;      // [B, N, 3]
  T* world_rotations;  // [B, N, 4]
};

template <typename T>
struct BindGradientArguments {
  const T* rotations;             // [B, N, 4]
  const T* grad_world_means;      // [B, N, 3]
  const T* grad_world_rotations;  // [B, N, 4]
  T* grad_means;                  // [B, N, 3]
  T* grad_rotations;              // [B, N, 4]
};

}  // namespace gaussian_rasterization
