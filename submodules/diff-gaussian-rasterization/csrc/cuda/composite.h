// The sweeps over tiles: forward, and backward.
#pragma once

#include "../core/color_sums.h"
#include "bins.h"

namespace gaussian_rasterization::cuda {

struct CompositeArguments {
  SceneArguments<float> scene;
  const Splat<float>* splats;  // [B, N]; 16-byte aligned
  Bins bins;
  ImageArguments<float> images;
};
void composite(const CompositeArguments& arguments, cudaStream_t stream);

struct CompositeColorSumArguments {
  CompositeArguments composite;
  ColorSumArguments<float> sums;
  float* slots;  // [pairs, kColorSumFields]
};
// As composite, and fills the colour sums. Of the arguments, slots is set here.
void composite_with_color_sums(CompositeColorSumArguments arguments, std::int64_t pairs, const Allocate& allocate,
                               cudaStream_t stream);

struct CompositeBackwardArguments {
  SceneArguments<float> scene;
  const Splat<float>* splats;  // [B, N]; 16-byte aligned
  Bins bins;
  GradientArguments<float> gradients;
  float* slots;  // [pairs, kMomentFields]
};
// Gradient of the images to the Gaussians, through the projection. Of the arguments, slots is set here.
void composite_backward(CompositeBackwardArguments arguments, std::int64_t pairs, const Allocate& allocate,
                        cudaStream_t stream);

}  // namespace gaussian_rasterization::cuda
