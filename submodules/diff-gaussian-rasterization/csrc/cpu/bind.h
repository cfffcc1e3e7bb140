// Binding to a mesh, and its gradient.
#pragma once

#include "../core/arguments.h"
#include "parallel.h"

namespace gaussian_rasterization::cpu {

template <typename T, typename Index>
void bind_to_mesh(const MeshArguments<T, Index>& mesh, const BindArguments<T>& arguments, const RunOnAllThreads& run);

template <typename T, typename Index>
void bind_to_mesh_backward(const MeshArguments<T, Index>& mesh, const BindGradientArguments<T>& arguments,
                           const RunOnAllThreads& run);

}  // namespace gaussian_rasterization::cpu
