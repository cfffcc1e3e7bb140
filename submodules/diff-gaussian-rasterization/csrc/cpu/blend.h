// Blending: base plus a weighted sum of bases, and its gradient. Reads the bases once for all images.
#pragma once

#include "../core/arguments.h"
#include "parallel.h"

namespace gaussian_rasterization::cpu {

template <typename T>
void blend(const BlendArguments<T>& arguments, const RunOnAllThreads& run);
template <typename T>
void blend_backward(const BlendGradientArguments<T>& arguments, const RunOnAllThreads& run);

}  // namespace gaussian_rasterization::cpu
