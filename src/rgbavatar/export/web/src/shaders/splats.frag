// From an avatar in its triangles' frames to splats on the screen: blend the bases, bind to the posed mesh, project.
//
// Symbols: Gaussian i of N, basis k of K; M: the frame of a triangle, columns tangent, bitangent, normal.
// Screen axes: x right, y down; pixel centres at whole numbers.
//
// An entry of the two targets is a splat, as bits:
//   shape: x, y, a, b          alpha(d) = opacity exp(-1/2 (a dx^2 + 2 b dx dy + c dy^2)), d = pixel - (x, y)
//   rest:  c, depth Z, halves (red, green), halves (blue, opacity)        depth 0: not visible
uniform sampler2D base;        // 5 N: mean and opacity logit; rotation WXYZ; sh and step of sh; log scale and step of mean;
                               // step of rotation and tangent (multiples of the two edges)
uniform usampler2D binding;    // N: three vertices; two barycentric coordinates of 16 bits
uniform isampler2D bases;      // 3 K N: mean, -; rotation; sh, - as levels of 8 bits
uniform sampler2D weights;     // K
uniform usampler2D vertices;   // as vertices.frag leaves them
uniform int count;             // N
uniform int baseCount;         // K
uniform mat4x3 worldToCamera;
uniform vec4 intrinsics;       // fx, fy, cx, cy; pixels, the centre of the first one at 0.5
uniform vec2 size;             // pixels of the picture
uniform float scaleFactor;     // of all Gaussians; 1 as trained
layout(location = 0) out uvec4 shape;
layout(location = 1) out uvec4 rest;

const float MIN_ALPHA = 1.0 / 255.0;
const float NEAR = 0.2;             // metres
const float BLUR = 0.3;             // pixels squared
const float JACOBIAN_LIMIT = 1.3;   // half fields of view
const float MAX_VARIANCE = 1e12;    // pixels squared
const float MIN_EDGE = 1e-12;       // metres
const float MIN_SINE = 1e-6;        // of the angle between two edges
const float MIN_QUATERNION = 1e-12;
const float SH_DC = 0.28209479177387814;

struct Gaussian {
  vec3 mean;
  vec4 rotation;  // w, x, y, z
  vec3 sh;
};

bool isFinite(float x) { return !(isnan(x) || isinf(x)); }

bool isDirection(vec3 v) {
  float squared = dot(v, v);
  return squared >= MIN_EDGE * MIN_EDGE && isFinite(squared);
}

vec4 baseEntry(int part, int i) { return texelFetch(base, place(part * count + i), 0); }
vec4 basisEntry(int k, int part, int i) { return vec4(texelFetch(bases, place((3 * k + part) * count + i), 0)); }
vec3 vertexAt(uint v) { return uintBitsToFloat(texelFetch(vertices, place(int(v)), 0).xyz); }

Gaussian blend(int i, vec3 steps) {
  vec3 mean = vec3(0.0), sh = vec3(0.0);
  vec4 rotation = vec4(0.0);
  for (int k = 0; k < baseCount; ++k) {
    float weight = texelFetch(weights, place(k), 0).x;
    mean += weight * basisEntry(k, 0, i).xyz;
    rotation += weight * basisEntry(k, 1, i);
    sh += weight * basisEntry(k, 2, i).xyz;
  }
  return Gaussian(baseEntry(0, i).xyz + steps.x * mean, baseEntry(1, i) + steps.y * rotation,
                  baseEntry(2, i).xyz + steps.z * sh);
}

vec3 perpendicularTo(vec3 v) {  // to the unit vector v: v crossed with the axis that it is least along
  vec3 s = v * v;
  vec3 axis = s.x <= s.y && s.x <= s.z ? vec3(1, 0, 0) : s.y <= s.z ? vec3(0, 1, 0) : vec3(0, 0, 1);
  return normalize(cross(v, axis));
}

// Without area: any normal at a right angle to the longer edge; shrunk to a point: z.
vec3 faceNormal(vec3 e1, vec3 e2) {
  vec3 longer = dot(e1, e1) >= dot(e2, e2) ? e1 : e2;
  if (!(isDirection(longer) && isFinite(dot(e1, e2)))) return vec3(0, 0, 1);
  float scale = inversesqrt(dot(longer, longer));
  vec3 normal = cross(scale * e1, scale * e2);
  return length(normal) >= MIN_SINE ? normalize(normal) : perpendicularTo(scale * longer);
}

bool tangentAlong(vec3 v, vec3 normal, out vec3 tangent) {
  vec3 left = v - dot(v, normal) * normal;
  tangent = vec3(0);
  if (!(isDirection(left) && dot(left, left) >= MIN_SINE * MIN_SINE * dot(v, v))) return false;
  tangent = normalize(left);
  tangent = normalize(tangent - dot(tangent, normal) * normal);
  return true;
}

// The tangent follows the UV map; without one, an edge; without these, anything at a right angle to the normal.
mat3 faceFrame(vec3 e1, vec3 e2, vec2 along) {
  vec3 normal = faceNormal(e1, e2), tangent;
  if (!(tangentAlong(along.x * e1 + along.y * e2, normal, tangent) || tangentAlong(e1, normal, tangent) ||
        tangentAlong(e2, normal, tangent)))
    tangent = perpendicularTo(normal);
  return mat3(tangent, cross(normal, tangent), normal);
}

mat3 rotationMatrix(vec4 q) {  // of a unit quaternion (w, x, y, z) = q.xyzw; columns
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
              2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
              2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

// The screen covariance (xx, xy, yy) of a Gaussian at t in camera space and its determinant. axes: its three axes in the
// world, as columns, each as long as the standard deviation. J is taken at X/Z, Y/Z clamped, where it stays near linear.
vec4 screenCovariance(mat3 axes, vec3 t) {
  vec2 limit = JACOBIAN_LIMIT * size / (2.0 * intrinsics.xy);
  vec2 slope = clamp(t.xy / t.z, -limit, limit);
  mat3 camera = transpose(mat3(worldToCamera));  // columns: the camera's axes in the world
  vec3 a0 = (intrinsics.x / t.z * (camera[0] - slope.x * camera[2])) * axes;
  vec3 a1 = (intrinsics.y / t.z * (camera[1] - slope.y * camera[2])) * axes;
  float xx = dot(a0, a0), yy = dot(a1, a1);
  vec3 minors = cross(a0, a1);  // |minors|^2 is the determinant before the blur: no difference of large numbers
  return vec4(xx + BLUR, dot(a0, a1), yy + BLUR, dot(minors, minors) + BLUR * (xx + yy) + BLUR * BLUR);
}

void writeSplat(vec3 t, mat3 axes, vec3 color, float opacity) {
  if (!(t.z > NEAR && opacity >= MIN_ALPHA)) return;
  vec2 centre = intrinsics.xy * (t.xy / t.z) + intrinsics.zw - 0.5;
  vec4 covariance = screenCovariance(axes, t);
  if (!(max(covariance.x, covariance.z) <= MAX_VARIANCE && isFinite(centre.x + centre.y))) return;
  vec2 reach = sqrt(2.0 * log(opacity / MIN_ALPHA) * covariance.xz);  // of the ellipse alpha >= 1/255
  if (any(lessThan(centre + reach, vec2(0.0))) || any(greaterThan(centre - reach, size - 1.0))) return;
  vec3 conic = vec3(covariance.z, -covariance.y, covariance.x) / covariance.w;
  shape = floatBitsToUint(vec4(centre, conic.xy));
  rest = uvec4(floatBitsToUint(conic.z), floatBitsToUint(t.z), packHalf2x16(color.rg),
               packHalf2x16(vec2(color.b, opacity)));
}

void main() {
  int i = (int(gl_FragCoord.y) << 11) + int(gl_FragCoord.x);
  shape = uvec4(0u), rest = uvec4(0u);
  if (i >= count) return;
  uvec4 bound = texelFetch(binding, place(i), 0);
  vec4 scales = baseEntry(3, i), more = baseEntry(4, i);
  Gaussian local = blend(i, vec3(scales.w, more.x, baseEntry(2, i).w));
  float norm = length(local.rotation);
  if (!(norm >= MIN_QUATERNION && isFinite(norm) && isFinite(dot(local.sh, local.sh)))) return;
  vec3 v0 = vertexAt(bound.x), v1 = vertexAt(bound.y), v2 = vertexAt(bound.z);
  mat3 frame = faceFrame(v1 - v0, v2 - v0, more.yz);
  vec2 weight = vec2(bound.w & 65535u, bound.w >> 16) / 65535.0;
  vec3 anchor = weight.x * v0 + weight.y * v1 + (1.0 - weight.x - weight.y) * v2;
  vec3 t = worldToCamera * vec4(frame * local.mean + anchor, 1.0);
  mat3 axes = frame * rotationMatrix(local.rotation / norm);
  vec3 deviations = exp(scales.xyz) * scaleFactor;
  axes = mat3(deviations.x * axes[0], deviations.y * axes[1], deviations.z * axes[2]);
  float opacity = 1.0 / (1.0 + exp(-baseEntry(0, i).w));
  writeSplat(t, axes, max(0.5 + SH_DC * local.sh, 0.0), opacity);
}
