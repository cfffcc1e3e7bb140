// Blending: base plus a weighted sum of bases, and its gradient. Reads the bases once for 8 images.
#pragma once

#include "../core/arguments.h"
#include "launch.h"

namespace gaussian_rasterization::cuda {

void blend(const BlendArguments<float>& arguments, cudaStream_t stream);
void blend_backward(const BlendGradientArguments<float>& arguments, const Allocate& allocate, cudaStream_t stream);

}  // namespace gaussian_rasterization::cuda
