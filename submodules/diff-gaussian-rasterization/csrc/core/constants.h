// The numbers every backend agrees on. Each has a unit and a reason; the Python oracle repeats them.
#pragma once

#include <cstdint>

namespace gaussian_rasterization {

// Fainter than one 8-bit level: a Gaussian does not reach a pixel where its alpha is lower.
inline constexpr double kMinAlpha = 1.0 / 255.0;

// Keeps 1 - alpha away from 0, by which the backward pass divides.
inline constexpr double kMaxAlpha = 0.99;

// A larger opacity, where at most 1 has a meaning, counts as not finite: the gradients of a splat are sums of it times
// squared distances, which have to stay inside float.
inline constexpr double kMaxOpacity = 1e6;

// A pixel is finished before its transmittance would fall under this: what is left is 1/39 of an 8-bit level.
inline constexpr double kMinTransmittance = 1e-4;

// Depth of the near plane, metres (more exactly: in units of the world).
inline constexpr double kNear = 0.2;

// Variance added to both screen axes, pixels squared: a box of one pixel has variance 1/12; 0.3 is the value of 3D
// Gaussian Splatting (section 4).
inline constexpr double kBlur = 0.3;

// X/Z and Y/Z are clamped to this many half fields of view inside the Jacobian only, where its linearisation would blow
// up.
inline constexpr double kJacobianLimit = 1.3;

// A splat of larger screen variance (standard deviation of a million pixels) counts as degenerate and is not visible.
// With it every product below stays inside float: determinant <= 1e24, squared distances <= 1e15.
inline constexpr double kMaxVariance = 1e12;

// A quaternion shorter than this has no direction.
inline constexpr double kMinQuaternionNorm = 1e-12;

// An edge shorter than this (metres) has no direction; nor has a face whose height is a smaller part of its longer edge
// than this: in float the corners' rounding alone tilts it by 1e-7 of that edge.
inline constexpr double kMinEdgeLength = 1e-12;
inline constexpr double kMinFaceSine = 1e-6;

// Colour initialisation looks at pixels that the mask calls foreground and in which the Gaussian is plainly seen.
inline constexpr std::uint8_t kMinMaskLevel = 128;  // the first 8-bit level above 0.5
inline constexpr double kMinSeenWeight = 0.1;

// Side of a square tile, pixels.
inline constexpr int kTileSize = 16;

}  // namespace gaussian_rasterization
