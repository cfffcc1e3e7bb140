// Which pixels a splat reaches: the ellipse {d : d^T Q d <= cutoff}, where alpha >= kMinAlpha, against rectangles, rows
// and tiles.
//
// The answers are exact in exact arithmetic. Rounding is answered on the safe side (see cutoff_with_slack): what is
// culled here would have failed the pixel's own alpha test.
#pragma once

#include <cstdint>

#include "compositing.h"

namespace gaussian_rasterization {

// A closed range of whole numbers; empty when last < first.
struct Range {
  std::int32_t first, last;
};
GR_HD bool is_empty(Range r) { return r.last < r.first; }

// The terms a dx^2 and c dy^2 of the form reach cutoff * a Σxx = cutoff / (1 - correlation^2) before they cancel, so
// the form is known to a few epsilon of that. The second part answers the rounding of pixel coordinates (up to 2^13 px)
// themselves.
template <typename T>
GR_HD T cutoff_with_slack(const Splat<T>& s) {
  const T epsilon = std::numeric_limits<T>::epsilon();
  return s.cutoff * (T(1) + T(16) * epsilon * (s.a * s.c * s.determinant)) + T(8192) * epsilon;
}

// Whole numbers of [low, high] that lie in [first, last]. The bounds may be of any size, or NaN (then: none).
template <typename T>
GR_HD Range whole_numbers_within(T low, T high, std::int32_t first, std::int32_t last) {
  if (!(low <= T(last) && high >= T(first) && low <= high)) return {first, first - 1};
  return {low <= T(first) ? first : static_cast<std::int32_t>(round_up(low)),
          high >= T(last) ? last : static_cast<std::int32_t>(round_down(high))};
}

template <typename T>
struct Ellipse {
  T x, y;                     // centre, pixels
  T a, b, c;                  // Q
  T cutoff;                   // with slack
  T half_width, half_height;  // of its bounding box: sqrt(cutoff Σxx), sqrt(cutoff Σyy)
  T shear_x, shear_y;         // centre of the row at dy: x + shear_x dy; centre of the column at dx: y + shear_y dx
  T inverse_a;                // variance of x in one row
  T inverse_variance_y;       // 1 / Σyy
};

template <typename T>
GR_HD Ellipse<T> ellipse_of(const Splat<T>& s) {
  const T cutoff = cutoff_with_slack(s), inverse_a = T(1) / s.a, variance_y = s.a * s.determinant;
  return {s.x,
          s.y,
          s.a,
          s.b,
          s.c,
          cutoff,
          square_root(cutoff * s.c * s.determinant),
          square_root(cutoff * variance_y),
          -s.b * inverse_a,
          -s.b / s.c,
          inverse_a,
          T(1) / variance_y};
}

// Least value of the form over the rectangle [x0, x1] x [y0, y1] of pixel coordinates. It is convex with its minimum 0
// at the centre, so outside the centre the minimum lies on an edge that faces the centre; along an edge the form is a
// parabola: its vertex, clamped. (Beside or above the centre one of the two candidates is merely a point of the
// rectangle, and the other one is the minimum.)
template <typename T>
GR_HD T minimum_over_rectangle(const Ellipse<T>& e, T x0, T x1, T y0, T y1) {
  const T left = x0 - e.x, right = x1 - e.x, top = y0 - e.y, bottom = y1 - e.y;
  const T near_x = clamped(T(0), left, right), near_y = clamped(T(0), top, bottom);
  const T on_side = quadratic_form(e.a, e.b, e.c, near_x, clamped(e.shear_y * near_x, top, bottom));
  const T on_level = quadratic_form(e.a, e.b, e.c, clamped(e.shear_x * near_y, left, right), near_y);
  return smaller(on_side, on_level);
}

template <typename T>
GR_HD bool reaches_rectangle(const Ellipse<T>& e, T x0, T x1, T y0, T y1) {
  return minimum_over_rectangle(e, x0, x1, y0, y1) <= e.cutoff;
}

// Half the width of the ellipse in the row at dy; NaN where it has none.
template <typename T>
GR_HD T half_chord(const Ellipse<T>& e, T dy) {
  return square_root((e.cutoff - dy * dy * e.inverse_variance_y) * e.inverse_a);
}

// Columns of [first, last] whose pixel in row y the splat reaches.
template <typename T>
GR_HD Range row_span(const Ellipse<T>& e, std::int32_t y, std::int32_t first, std::int32_t last) {
  const T dy = T(y) - e.y, centre = e.x + e.shear_x * dy, half = half_chord(e, dy);
  return whole_numbers_within(centre - half, centre + half, first, last);
}

// Rows of [first, last] that the splat reaches in any column.
template <typename T>
GR_HD Range rows_reached(const Ellipse<T>& e, std::int32_t first, std::int32_t last) {
  return whole_numbers_within(e.y - e.half_height, e.y + e.half_height, first, last);
}

// Columns of [first, last] that the splat reaches between the rows y0 and y1: the shadow of (ellipse and strip) on the
// x axis. Its right end is the rightmost point of the ellipse, at dy = shear_y half_width, moved into the strip; its
// left end is the mirror image.
template <typename T>
GR_HD Range strip_span(const Ellipse<T>& e, std::int32_t y0, std::int32_t y1, std::int32_t first, std::int32_t last) {
  const T top = T(y0) - e.y, bottom = T(y1) - e.y, tip = e.shear_y * e.half_width;
  if (!(top <= e.half_height && bottom >= -e.half_height)) return {first, first - 1};
  const T right_dy = clamped(clamped(tip, top, bottom), -e.half_height, e.half_height);
  const T left_dy = clamped(clamped(-tip, top, bottom), -e.half_height, e.half_height);
  const T right = e.x + e.shear_x * right_dy +
                  square_root(larger(T(0), (e.cutoff - right_dy * right_dy * e.inverse_variance_y) * e.inverse_a));
  const T left = e.x + e.shear_x * left_dy -
                 square_root(larger(T(0), (e.cutoff - left_dy * left_dy * e.inverse_variance_y) * e.inverse_a));
  return whole_numbers_within(left, right, first, last);
}

// Rows of tiles, and in such a row the columns of tiles, that the splat reaches. Exact: (ellipse and strip) is convex,
// so it meets every tile between the ends of its shadow, and no other. Tiles of kTileSize pixels; width and height in
// pixels.
template <typename T>
GR_HD Range tile_rows_reached(const Ellipse<T>& e, std::int32_t height) {
  const Range rows = rows_reached(e, 0, height - 1);
  return is_empty(rows) ? Range{0, -1} : Range{rows.first / kTileSize, rows.last / kTileSize};
}

template <typename T>
GR_HD Range tile_columns_reached(const Ellipse<T>& e, std::int32_t tile_row, std::int32_t width, std::int32_t height) {
  const std::int32_t y0 = tile_row * kTileSize, y1 = smaller(y0 + kTileSize, height) - 1;
  const Range columns = strip_span(e, y0, y1, 0, width - 1);
  return is_empty(columns) ? Range{0, -1} : Range{columns.first / kTileSize, columns.last / kTileSize};
}

}  // namespace gaussian_rasterization
