// The sweeps over tiles.
#pragma once

#include "bins.h"

namespace gaussian_rasterization::cpu {

template <typename T>
void composite(const SceneArguments<T>& scene, const Splat<T>* splats, const Bins& bins,
               const ImageArguments<T>& images, const RunOnAllThreads& run);

// As composite, and fills the colour sums.
template <typename T>
void composite_with_color_sums(const SceneArguments<T>& scene, const Splat<T>* splats, const Bins& bins,
                               const ImageArguments<T>& images, const ColorSumArguments<T>& sums,
                               const RunOnAllThreads& run);

// Gradient of the images to the Gaussians, through the projection.
template <typename T>
void composite_backward(const SceneArguments<T>& scene, const Splat<T>* splats, const Bins& bins,
                        const GradientArguments<T>& gradients, const RunOnAllThreads& run);

}  // namespace gaussian_rasterization::cpu
