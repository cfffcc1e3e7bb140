// The rectangle around one splat: it encloses the ellipse where alpha is at least 1/255, along the ellipse's own axes.
// The target's first row is the top of the picture.
uniform usampler2D shapes;
uniform usampler2D rests;
uniform usampler2D order;  // entry i: the splat that is painted as the i-th
uniform vec2 size;
flat out vec2 centre;
flat out vec3 conic;
flat out vec4 paint;  // RGB and opacity

// Unit vector along the longer axis of the ellipse of the conic (a, b, c); half: (a - c) / 2; apart: half the distance of its
// eigenvalues. Of two equal expressions for the eigenvector, the one without a difference of like numbers is taken.
vec2 longAxis(float b, float halfDifference, float apart) {
  if (!(apart > 0.0)) return vec2(1.0, 0.0);
  return normalize(halfDifference >= 0.0 ? vec2(b, -(halfDifference + apart)) : vec2(halfDifference - apart, b));
}

void main() {
  int index = int(texelFetch(order, place(gl_VertexID >> 2), 0).x);
  uvec4 shape = texelFetch(shapes, place(index), 0), rest = texelFetch(rests, place(index), 0);
  vec4 numbers = uintBitsToFloat(shape);
  centre = numbers.xy;
  conic = vec3(numbers.zw, uintBitsToFloat(rest.x));
  paint = vec4(unpackHalf2x16(rest.z), unpackHalf2x16(rest.w));
  float a = conic.x, b = conic.y, c = conic.z;
  float halfDifference = 0.5 * (a - c), apart = length(vec2(halfDifference, b)), larger = 0.5 * (a + c) + apart;
  float determinant = max(a * c - b * b - 1e-6 * a * c, 1e-7 * a * c);  // less than it is, by its rounding: a longer rectangle
  float cutoff = max(2.0 * log(paint.w * 255.0), 0.0) + 1e-3;
  vec2 along = longAxis(b, halfDifference, apart), across = vec2(-along.y, along.x);
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2.0 - 1.0;
  vec2 pixel = centre + corner.x * sqrt(cutoff * larger / determinant) * along + corner.y * sqrt(cutoff / larger) * across;
  gl_Position = vec4((pixel + 0.5) / size * 2.0 - 1.0, 0.0, 1.0);
}
