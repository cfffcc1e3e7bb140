// Binding to a mesh, and its gradient.
//
// Whether the mesh's indices are in range is not known at the border: to ask would be to wait for the device. A
// Gaussian whose face does not exist, or has a corner that does not, gets NaN for mean and rotation (rasterize then
// counts it as invalid), and no gradient.
#pragma once

#include "../core/arguments.h"
#include "launch.h"

namespace gaussian_rasterization::cuda {

template <typename Index>
struct BindToMeshArguments {
  MeshArguments<float, Index> mesh;
  BindArguments<float> bind;
};
template <typename Index>
void bind_to_mesh(const BindToMeshArguments<Index>& arguments, cudaStream_t stream);

template <typename Index>
struct BindToMeshBackwardArguments {
  MeshArguments<float, Index> mesh;
  BindGradientArguments<float> bind;
};
template <typename Index>
void bind_to_mesh_backward(const BindToMeshBackwardArguments<Index>& arguments, cudaStream_t stream);

}  // namespace gaussian_rasterization::cuda
