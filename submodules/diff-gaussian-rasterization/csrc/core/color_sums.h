// What colour initialisation gathers: for a Gaussian not seen yet, the target's colour where it is plainly seen.
#pragma once

#include <cstdint>

#include "constants.h"
#include "scalar.h"

namespace gaussian_rasterization {

template <typename T>
struct ColorSum {
  T red, green, blue;  // sum of target colour in [0, 1] times weight
  T weight;            // sum of alpha T
};
inline constexpr int kColorSumFields = 4;

// Whether a pixel counts: its mask is foreground, and the Gaussian's share alpha T of it is large.
template <typename T>
GR_HD bool counts_for_color(T share, std::uint8_t mask) {
  return mask >= kMinMaskLevel && share > T(kMinSeenWeight);
}

// rgba: straight 8-bit colour of the target's pixel.
template <typename T>
GR_HD void add_target(ColorSum<T>& sum, const std::uint8_t* rgba, T share) {
  if (!counts_for_color(share, rgba[3])) return;
  const T level = share * T(1.0 / 255.0);
  sum.red += level * T(rgba[0]), sum.green += level * T(rgba[1]), sum.blue += level * T(rgba[2]);
  sum.weight += share;
}

}  // namespace gaussian_rasterization
