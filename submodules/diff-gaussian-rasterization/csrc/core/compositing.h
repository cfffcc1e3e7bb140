// Front-to-back compositing of one pixel, and the gradient of one step (3D Gaussian Splatting, section 4, equation 3).
//
//   C = sum_i c_i alpha_i T_i + T_end background,   T_i = prod_{j < i} (1 - alpha_j),   coverage = 1 - T_end.
#pragma once

#include "projection.h"

namespace gaussian_rasterization {

// The quadratic form at (dx, dy), in an order of operations that cannot overflow before its result does.
template <typename T>
GR_HD T quadratic_form(T a, T b, T c, T dx, T dy) {
  return dx * (a * dx + T(2) * b * dy) + c * dy * dy;
}

enum class Step { kSkipped, kComposited, kFinished };

// One Gaussian in one pixel.
template <typename T>
struct Contribution {
  T unclamped;  // opacity exp(-1/2 d^T Q d)
  T alpha;      // min(kMaxAlpha, unclamped)
};

template <typename T>
GR_HD Contribution<T> contribution(const Splat<T>& s, T pixel_x, T pixel_y) {
  const T form = quadratic_form(s.a, s.b, s.c, pixel_x - s.x, pixel_y - s.y);
  const T unclamped = s.opacity * exponential(T(-0.5) * form);
  return {unclamped, smaller(unclamped, T(kMaxAlpha))};
}

// What happens with alpha at transmittance T: too faint, composited, or the pixel is finished before it.
template <typename T>
GR_HD Step decide(T alpha, T transmittance) {
  if (!(alpha >= T(kMinAlpha))) return Step::kSkipped;
  return transmittance * (T(1) - alpha) < T(kMinTransmittance) ? Step::kFinished : Step::kComposited;
}

// dL/dalpha_i = T_i k_i - rest_i / (1 - alpha_i), with k_i = c_i . dL/dC + dL/dcoverage (coverage is a channel of
// colour 1 over background 0) and rest_i = sum_{j > i} k_j alpha_j T_j + T_end background . dL/dC. Front to back: rest
// starts as C . dL/dC + coverage dL/dcoverage of the finished pixel, and each step takes its own k alpha T away.
template <typename T>
GR_HD T alpha_gradient(T alpha, T transmittance, T channel, T rest) {
  return transmittance * channel - quotient(rest, T(1) - alpha);
}

}  // namespace gaussian_rasterization
