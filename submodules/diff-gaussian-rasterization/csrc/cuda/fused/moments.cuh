// The moments of the splats that a warp composites: sums over its 32 pixels, for 16 splats at a time.
//
// A lane knows, for its pixel, w and share of each splat. The moments of w about a fixed point, and the sums of share
// times the pixel's gradient, are two products of matrices: [splats, pixels] times [pixels, 8]. The tensor cores
// compute them; w and share are split into two numbers of 11 bits each, and the second factor is exact in 11 bits: the
// monomials of pixel coordinates are small multiples of a quarter, and a loss's gradient is a sign, or was cut to 11
// bits. About 2^-22 of each term is lost. Cards older than Ampere, which have no such product, add lane by lane.
#pragma once

#include "sweep.cuh"

namespace gaussian_rasterization::cuda::fused {

inline constexpr int kRows = 12;                  // splats of a flush: more would leave room for fewer blocks
inline constexpr int kRowStride = kWarpSize + 4;  // floats: four lanes then read eight pixels of a row without conflict
inline constexpr int kSumStride = 12;             // floats of a row of sums: 9 moments

// Of one warp, in shared memory. The sums take the place of w once w has been read.
struct MomentRows {
  alignas(16) float w[kRows][kRowStride];
  alignas(16) float share[kRows][kRowStride];
  alignas(16) float gradient[3][kWarpSize];  // red, green, blue
  __device__ __forceinline__ float* sums(int row) { return &w[0][0] + row * kSumStride; }
};

// Centre of the warp's pixels, about which moments are taken first.
inline constexpr float kCentreX = 0.5f * (kWarpWidth - 1), kCentreY = 0.5f * (kWarpHeight - 1);

// A number of 11 bits, towards zero.
__device__ __forceinline__ float upper_bits(float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); }

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800

struct Fragment {
  float low[8], high[8];  // of rows g and g + 8, the eight pixels of lane t: g = lane / 4, t = lane % 4
};

// The product has 16 rows; those past kRows are 0.
__device__ __forceinline__ Fragment load_fragment(const float (&rows)[kRows][kRowStride], int lane) {
  Fragment f;
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float4 low = *reinterpret_cast<const float4*>(&rows[g][8 * t + 4 * half]);
    float4 high = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (g + 8 < kRows) high = *reinterpret_cast<const float4*>(&rows[g + 8][8 * t + 4 * half]);
    f.low[4 * half] = low.x, f.low[4 * half + 1] = low.y, f.low[4 * half + 2] = low.z, f.low[4 * half + 3] = low.w;
    f.high[4 * half] = high.x, f.high[4 * half + 1] = high.y, f.high[4 * half + 2] = high.z;
    f.high[4 * half + 3] = high.w;
  }
  return f;
}

// sums += a b for a 16x8, b 8x8 of 11-bit numbers; a's lanes hold rows g, g + 8 and columns t, t + 4, b's rows t, t + 4
// and column g.
__device__ __forceinline__ void multiply_add(float (&sums)[4], float a0, float a1, float a2, float a3, float b0,
                                             float b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(__float_as_uint(a0)), "r"(__float_as_uint(a1)), "r"(__float_as_uint(a2)), "r"(__float_as_uint(a3)),
        "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
}

// sums += fragment times a matrix whose column g has, for the eight pixels of lane t, the numbers b.
__device__ __forceinline__ void multiply_add(float (&sums)[4], const Fragment& f, const float (&b)[8]) {
#pragma unroll
  for (int k = 0; k < 8; k += 2) {
    const float l0 = upper_bits(f.low[k]), h0 = upper_bits(f.high[k]);
    const float l1 = upper_bits(f.low[k + 1]), h1 = upper_bits(f.high[k + 1]);
    multiply_add(sums, l0, h0, l1, h1, b[k], b[k + 1]);
    multiply_add(sums, f.low[k] - l0, f.high[k] - h0, f.low[k + 1] - l1, f.high[k + 1] - h1, b[k], b[k + 1]);
  }
}

// Leaves in each row of sums: w, wx, wy, wxx, wxy, wyy about the centre, red, green, blue.
__device__ __forceinline__ void sum_rows(MomentRows& rows, int lane) {
  const int g = lane / 4, t = lane % 4;
  const float y = static_cast<float>(t) - kCentreY;  // the eight pixels of lane t are row t
  const float constant = g == 0 ? 1.0f : g == 2 ? y : g == 5 ? y * y : 0.0f;
  const float linear = g == 1 ? 1.0f : g == 4 ? y : 0.0f, square = g == 3 ? 1.0f : 0.0f;
  float monomials[8], gradients[8];
  const float4* gradient = reinterpret_cast<const float4*>(&rows.gradient[smaller(g, 2)][8 * t]);
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const float x = static_cast<float>(k) - kCentreX;
    monomials[k] = constant + x * (linear + x * square);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float4 four = gradient[half];
    if (g > 2) four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    gradients[4 * half] = four.x, gradients[4 * half + 1] = four.y, gradients[4 * half + 2] = four.z;
    gradients[4 * half + 3] = four.w;
  }
  float moments[4] = {}, colors[4] = {};
  multiply_add(moments, load_fragment(rows.w, lane), monomials);
  multiply_add(colors, load_fragment(rows.share, lane), gradients);
  __syncwarp();
  if (t < 3) {
    *reinterpret_cast<float2*>(rows.sums(g) + 2 * t) = make_float2(moments[0], moments[1]);
    if (g + 8 < kRows) *reinterpret_cast<float2*>(rows.sums(g + 8) + 2 * t) = make_float2(moments[2], moments[3]);
  }
  if (t < 2) {
    *reinterpret_cast<float2*>(rows.sums(g) + 6 + 2 * t) = make_float2(colors[0], colors[1]);
    if (g + 8 < kRows) *reinterpret_cast<float2*>(rows.sums(g + 8) + 6 + 2 * t) = make_float2(colors[2], colors[3]);
  }
}

#else

__device__ __forceinline__ void sum_rows(MomentRows& rows, int lane) {
  const float x = static_cast<float>(lane % kWarpWidth) - kCentreX;
  const float y = static_cast<float>(lane / kWarpWidth) - kCentreY;
  const int field = field_of_lane<kMomentFields>(lane);
  float total[kRows];
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    const float w = rows.w[row][lane], share = rows.share[row][lane];
    float values[kMomentFields] = {w,
                                   w * x,
                                   w * y,
                                   w * x * x,
                                   w * x * y,
                                   w * y * y,
                                   share * rows.gradient[0][lane],
                                   share * rows.gradient[1][lane],
                                   share * rows.gradient[2][lane]};
    total[row] = sum_over_lanes<kMomentFields>(values, lane);
  }
  __syncwarp();
#pragma unroll
  for (int row = 0; row < kRows; ++row)
    if (field >= 0) rows.sums(row)[field] = total[row];
}

#endif

// About the splat's own centre, where the row has them about the centre of the warp's pixels: d = pixel - centre.
__device__ __forceinline__ void move_to_centre(float (&s)[kMomentFields], float centre_x, float centre_y) {
  const float w = s[0], x = s[1], y = s[2], u = -centre_x, v = -centre_y;
  const float wx = x + u * w, wy = y + v * w;
  s[3] += u * (x + wx);
  s[4] += u * y + v * wx;
  s[5] += v * (y + wy);
  s[1] = wx, s[2] = wy;
}

// moments: of the splat, aligned to 16 bytes.
__device__ __forceinline__ void add_moments(const float (&s)[kMomentFields], float* moments) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  auto* vectors = reinterpret_cast<float4*>(moments);
  atomicAdd(vectors, make_float4(s[0], s[1], s[2], s[3]));
  atomicAdd(vectors + 1, make_float4(s[4], s[5], s[6], s[7]));
  atomicAdd(moments + 8, s[8]);
#else
#pragma unroll
  for (int field = 0; field < kMomentFields; ++field) atomicAdd(moments + field, s[field]);
#endif
}

// Adds the rows' moments to those of their splats. Lane i < count knows row i's splat: its number and its centre, in
// pixels from the centre of the warp's.
__device__ __forceinline__ void flush_rows(MomentRows& rows, int count, std::uint32_t splat, float centre_x,
                                           float centre_y, int lane, float* moments) {
  __syncwarp();
  sum_rows(rows, lane);
  __syncwarp();
  if (lane < count) {
    const float4 a = *reinterpret_cast<const float4*>(rows.sums(lane)),
                 b = *reinterpret_cast<const float4*>(rows.sums(lane) + 4);
    float s[kMomentFields] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, rows.sums(lane)[8]};
    move_to_centre(s, centre_x, centre_y);
    add_moments(s, moments + static_cast<std::int64_t>(splat) * kSumStride);
  }
  __syncwarp();
}

}  // namespace gaussian_rasterization::cuda::fused
