// Perspective projection of a 3D Gaussian to a screen-space splat (3D Gaussian Splatting, sections 4 and 5; EWA
// splatting, Zwicker et al. 2001), and its vector-Jacobian product.
//
// Camera axes: x right, y down, z forward. Pixel centres lie at integers of the image plane.
#pragma once

#include <cstdint>

#include "quaternion.h"

namespace gaussian_rasterization {

template <typename T>
struct Camera {
  Mat3<T> rotation;     // world to camera
  Vec3<T> translation;  // world to camera
  T fx, fy, cx, cy;     // pixels; the centre of the first pixel is at 0.5 in the units of cx, cy
  T limit_x, limit_y;   // bounds on |X/Z|, |Y/Z| inside the Jacobian
};

// world_to_camera [3, 4] row-major; intrinsics (fx, fy, cx, cy).
template <typename T>
GR_HD Camera<T> load_camera(const T* world_to_camera, const T* intrinsics, std::int64_t width, std::int64_t height) {
  const T* p = world_to_camera;
  Camera<T> c;
  c.rotation = {{p[0], p[1], p[2], p[4], p[5], p[6], p[8], p[9], p[10]}};
  c.translation = {p[3], p[7], p[11]};
  c.fx = intrinsics[0], c.fy = intrinsics[1], c.cx = intrinsics[2], c.cy = intrinsics[3];
  c.limit_x = T(kJacobianLimit) * T(width) / (T(2) * c.fx);
  c.limit_y = T(kJacobianLimit) * T(height) / (T(2) * c.fy);
  return c;
}

// One Gaussian, in world space.
template <typename T>
struct Gaussian {
  Vec3<T> mean;
  Quaternion<T> rotation;  // need not be unit
  Vec3<T> scale;           // standard deviations
  T opacity;
  Vec3<T> color;
};

// Its image: alpha(d) = min(kMaxAlpha, opacity exp(-1/2 (a dx^2 + 2 b dx dy + c dy^2))), d = pixel - (x, y).
// As stored: kSplatFields consecutive scalars; a splat that is not visible has opacity 0.
template <typename T>
struct Splat {
  T x, y;     // pixels
  T a, b, c;  // inverse of the screen covariance
  T opacity;
  T cutoff;  // alpha reaches kMinAlpha exactly where the quadratic form is at most 2 ln(opacity / kMinAlpha)
  T red, green, blue;
  T depth;        // Z
  T determinant;  // of the screen covariance: with a and c it gives back the variances, x: c det, y: a det
};
inline constexpr int kSplatFields = 12;
static_assert(sizeof(Splat<float>) == kSplatFields * sizeof(float), "a splat is stored as consecutive scalars");

// All attributes finite, an opacity within bounds, and a rotation that has a direction. What is not valid is not drawn,
// gets no gradient, and is counted.
template <typename T>
GR_HD bool is_valid(const Gaussian<T>& g) {
  return is_finite(g.mean) && is_finite(g.scale) && is_finite(g.opacity) &&
         g.opacity <= T(kMaxOpacity) && is_finite(g.color) && has_direction(g.rotation);
}

// What projection and its backward pass share. Σ2 = A A^T + kBlur I with A = J W R S, [2, 3], rows a0 and a1.
template <typename T>
struct ProjectionTerms {
  Vec3<T> t;            // mean in camera space
  Quaternion<T> unit;   // normalised rotation
  Mat3<T> r;            // its matrix
  T u, v;               // X/Z, Y/Z, clamped
  bool free_u, free_v;  // whether they were inside the limit
  Vec3<T> j0, j1;       // rows of J W, [2, 3]
  Vec3<T> a0, a1;       // rows of A
  T xx, xy, yy;         // Σ2
  T determinant;        // of Σ2
};

template <typename T>
GR_HD ProjectionTerms<T> projection_terms(const Gaussian<T>& g, const Camera<T>& camera, Vec3<T> t) {
  ProjectionTerms<T> p;
  p.t = t;
  p.unit = normalized(g.rotation);
  p.r = rotation_matrix(p.unit);
  const T inverse_z = T(1) / t.z, u = t.x * inverse_z, v = t.y * inverse_z;
  p.u = clamped(u, -camera.limit_x, camera.limit_x), p.free_u = p.u == u;
  p.v = clamped(v, -camera.limit_y, camera.limit_y), p.free_v = p.v == v;
  const Vec3<T> w0 = row(camera.rotation, 0), w1 = row(camera.rotation, 1), w2 = row(camera.rotation, 2);
  p.j0 = (camera.fx * inverse_z) * (w0 - p.u * w2);
  p.j1 = (camera.fy * inverse_z) * (w1 - p.v * w2);
  const Vec3<T> r0 = multiply_transposed(p.r, p.j0), r1 = multiply_transposed(p.r, p.j1);
  p.a0 = {r0.x * g.scale.x, r0.y * g.scale.y, r0.z * g.scale.z};
  p.a1 = {r1.x * g.scale.x, r1.y * g.scale.y, r1.z * g.scale.z};
  const T aa = dot(p.a0, p.a0), ab = dot(p.a0, p.a1), bb = dot(p.a1, p.a1);
  p.xx = aa + T(kBlur), p.xy = ab, p.yy = bb + T(kBlur);
  // det(A A^T + k I) = |a0 x a1|^2 + k tr(A A^T) + k^2 (Cauchy-Binet): only positive terms, so a needle loses no
  // digits.
  const Vec3<T> minors = cross(p.a0, p.a1);
  p.determinant = dot(minors, minors) + T(kBlur) * (aa + bb) + T(kBlur * kBlur);
  return p;
}

// The splat of a valid Gaussian. Not visible (returns false, and splat.opacity is 0): at or behind the near plane,
// fainter than kMinAlpha everywhere, wider than kMaxVariance, or not finite on the screen. Whether it reaches a pixel
// is asked of ellipse.h.
template <typename T>
GR_HD bool project(const Gaussian<T>& g, const Camera<T>& camera, Splat<T>& splat) {
  splat = Splat<T>{};
  const Vec3<T> t = multiply(camera.rotation, g.mean) + camera.translation;
  if (!(t.z > T(kNear) && is_finite(t) && g.opacity >= T(kMinAlpha))) return false;
  const ProjectionTerms<T> p = projection_terms(g, camera, t);
  const T x = camera.fx * (t.x / t.z) + camera.cx - T(0.5), y = camera.fy * (t.y / t.z) + camera.cy - T(0.5);
  if (!(p.xx <= T(kMaxVariance) && p.yy <= T(kMaxVariance) && is_finite(x) && is_finite(y))) return false;
  const T inverse = T(1) / p.determinant;
  splat.x = x, splat.y = y;
  splat.a = p.yy * inverse, splat.b = -p.xy * inverse, splat.c = p.xx * inverse;
  splat.opacity = g.opacity;
  splat.cutoff = T(2) * natural_log(g.opacity / T(kMinAlpha));
  splat.red = g.color.x, splat.green = g.color.y, splat.blue = g.color.z;
  splat.depth = t.z;
  splat.determinant = p.determinant;
  return true;
}

// Sums over pixels that the backward sweep leaves for one splat. w = dL/d(exponent) = opacity exp(.) dL/dalpha; d =
// pixel - (x, y).
template <typename T>
struct SplatMoments {
  T w, wx, wy;         // sum w, w dx, w dy
  T wxx, wxy, wyy;     // sum w dx^2, w dx dy, w dy^2
  T red, green, blue;  // sum alpha T dL/dcolor
};
inline constexpr int kMomentFields = 9;
static_assert(sizeof(SplatMoments<float>) == kMomentFields * sizeof(float),
              "moments are stored as consecutive scalars");

template <typename T>
struct GaussianGradient {
  Vec3<T> mean;
  Quaternion<T> rotation;
  Vec3<T> scale;
  T opacity;
  Vec3<T> color;
};

// From the gradient (2x3 rows h0, h1) to A = J W R S: what it gives to scale, rotation and the camera-space mean.
template <typename T>
GR_HD void projection_terms_vjp(const Gaussian<T>& g, const Camera<T>& camera, const ProjectionTerms<T>& p, Vec3<T> h0,
                                Vec3<T> h1, GaussianGradient<T>& out, Vec3<T>& grad_t) {
  const Vec3<T> s = g.scale;
  const Vec3<T> r0 = multiply_transposed(p.r, p.j0), r1 = multiply_transposed(p.r, p.j1);
  out.scale = {h0.x * r0.x + h1.x * r1.x, h0.y * r0.y + h1.y * r1.y, h0.z * r0.z + h1.z * r1.z};
  const Vec3<T> k0 = {h0.x * s.x, h0.y * s.y, h0.z * s.z}, k1 = {h1.x * s.x, h1.y * s.y, h1.z * s.z};  // to J W R
  Mat3<T> grad_r;
  const T e0[3] = {p.j0.x, p.j0.y, p.j0.z}, e1[3] = {p.j1.x, p.j1.y, p.j1.z};
  for (int i = 0; i < 3; ++i) {
    grad_r.m[3 * i] = e0[i] * k0.x + e1[i] * k1.x;
    grad_r.m[3 * i + 1] = e0[i] * k0.y + e1[i] * k1.y;
    grad_r.m[3 * i + 2] = e0[i] * k0.z + e1[i] * k1.z;
  }
  out.rotation = normalized_vjp(g.rotation, rotation_matrix_vjp(p.unit, grad_r));
  const Vec3<T> grad_j0 = multiply(p.r, k0), grad_j1 = multiply(p.r, k1);  // to the rows of J W
  const Vec3<T> w2 = row(camera.rotation, 2);
  const T inverse_z = T(1) / p.t.z;
  const T grad_u = p.free_u ? -camera.fx * inverse_z * dot(grad_j0, w2) : T(0);
  const T grad_v = p.free_v ? -camera.fy * inverse_z * dot(grad_j1, w2) : T(0);
  const T grad_scale = -(dot(grad_j0, p.j0) + dot(grad_j1, p.j1)) * inverse_z;  // both rows carry the factor 1 / Z
  grad_t.x += grad_u * inverse_z;
  grad_t.y += grad_v * inverse_z;
  grad_t.z += grad_scale - (grad_u * (p.t.x * inverse_z) + grad_v * (p.t.y * inverse_z)) * inverse_z;
}

// Gradient to a visible Gaussian, whose mean lies at t in camera space, from the moments of its splat.
template <typename T>
GR_HD GaussianGradient<T> project_vjp(const Gaussian<T>& g, const Camera<T>& camera, Vec3<T> t,
                                      const SplatMoments<T>& m) {
  const ProjectionTerms<T> p = projection_terms(g, camera, t);
  const T inverse = T(1) / p.determinant, a = p.yy * inverse, b = -p.xy * inverse, c = p.xx * inverse;
  GaussianGradient<T> out;
  out.color = {m.red, m.green, m.blue};
  out.opacity = m.w / g.opacity;
  const T grad_x = a * m.wx + b * m.wy, grad_y = b * m.wx + c * m.wy;  // exponent = -1/2 d^T Q d, d = pixel - (x, y)
  // dL/dQ = -1/2 sum w d d^T and dQ = -Q dΣ2 Q, so dL/dΣ2 = 1/2 sum w (Q d)(Q d)^T; through Σ2 = A A^T: dL/dA = 2
  // dL/dΣ2 A.
  const T mx = a * m.wxx + b * m.wxy, my = a * m.wxy + b * m.wyy;  // Q M, M = sum w d d^T
  const T nx = b * m.wxx + c * m.wxy, ny = b * m.wxy + c * m.wyy;
  const T hxx = mx * a + my * b, hxy = mx * b + my * c, hyy = nx * b + ny * c;  // Q M Q
  const Vec3<T> h0 = hxx * p.a0 + hxy * p.a1, h1 = hxy * p.a0 + hyy * p.a1;
  const T inverse_z = T(1) / t.z;
  Vec3<T> grad_t = {camera.fx * inverse_z * grad_x, camera.fy * inverse_z * grad_y, T(0)};
  grad_t.z = -(grad_t.x * t.x + grad_t.y * t.y) * inverse_z;
  projection_terms_vjp(g, camera, p, h0, h1, out, grad_t);
  out.mean = multiply_transposed(camera.rotation, grad_t);
  return out;
}
template <typename T>
GR_HD GaussianGradient<T> project_vjp(const Gaussian<T>& g, const Camera<T>& camera, const SplatMoments<T>& m) {
  return project_vjp(g, camera, multiply(camera.rotation, g.mean) + camera.translation, m);
}

}  // namespace gaussian_rasterization
