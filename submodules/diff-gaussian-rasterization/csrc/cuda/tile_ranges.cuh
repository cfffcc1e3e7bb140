// The tiles that a splat reaches.
#pragma once

#include "../core/ellipse.h"

namespace gaussian_rasterization::cuda {
namespace {

// A splat's tiles are found twice, to count and to name them, and the two must agree to the last bit. Inlined, the
// compiler may fuse multiplications with additions differently in each place; not inlined, and from the splat as
// stored, both run the same instructions.
__device__ __noinline__ Ellipse<float> stored_ellipse(const Splat<float>* splat) { return ellipse_of(*splat); }
__device__ __noinline__ Range tile_rows_of(Ellipse<float> ellipse, std::int32_t height) {
  return tile_rows_reached(ellipse, height);
}
__device__ __noinline__ Range tile_columns_of(Ellipse<float> ellipse, std::int32_t row, std::int32_t width,
                                              std::int32_t height) {
  return tile_columns_reached(ellipse, row, width, height);
}

}  // namespace
}  // namespace gaussian_rasterization::cuda
