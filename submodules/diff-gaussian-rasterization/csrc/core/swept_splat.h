// A splat as the fused sweeps hold it: its quadratic form is scaled once, so that alpha = opacity 2^-form takes a pixel
// two multiplications less; and which parts of a tile it reaches is asked once, not by each part.
#pragma once

#include "ellipse.h"

namespace gaussian_rasterization {

template <typename T>
struct SweptSplat {
  T x, y;      // pixels
  T a, b2, c;  // log2(e) / 2 times Q; b2 twice the mixed term
  T opacity;
  T red, green, blue;
};

template <typename T>
GR_HD SweptSplat<T> swept(const Splat<T>& s) {
  constexpr T kScale = T(0.72134752044448170368);  // log2(e) / 2
  return {s.x, s.y, kScale * s.a, T(2) * kScale * s.b, kScale * s.c, s.opacity, s.red, s.green, s.blue};
}

template <typename T>
GR_HD Contribution<T> contribution(const SweptSplat<T>& s, T pixel_x, T pixel_y) {
  const T dx = pixel_x - s.x, dy = pixel_y - s.y;
  const T unclamped = s.opacity * power_of_two(-(dx * (s.a * dx + s.b2 * dy) + s.c * dy * dy));
  return {unclamped, smaller(unclamped, T(kMaxAlpha))};
}

// Bit i: whether the splat reaches the part i of a tile whose first pixel is (x, y). Parts of kWidth x kHeight pixels
// are numbered row by row.
template <int kWidth, int kHeight, typename T>
GR_HD std::uint32_t parts_reached(const Splat<T>& s, T x, T y) {
  constexpr int kColumns = kTileSize / kWidth, kParts = kColumns * (kTileSize / kHeight);
  const Ellipse<T> ellipse = ellipse_of(s);
  std::uint32_t parts = 0;
  for (int part = 0; part < kParts; ++part) {
    const T x0 = x + T(part % kColumns * kWidth), y0 = y + T(part / kColumns * kHeight);
    if (reaches_rectangle(ellipse, x0, x0 + T(kWidth - 1), y0, y0 + T(kHeight - 1))) parts |= 1u << part;
  }
  return parts;
}

}  // namespace gaussian_rasterization
