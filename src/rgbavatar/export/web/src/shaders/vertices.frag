// The vertices of one frame, in the world: rigid (mean + sum_k c_k component_k). An entry of the target is a vertex, as the
// bits of float32, because every WebGL2 can draw into integers.
uniform sampler2D meshMean;
uniform isampler2D meshComponents;
uniform sampler2D coefficients;  // entry k: c_k times the metres of a level
uniform int vertexCount;
uniform int rank;
uniform mat4x3 rigid;
layout(location = 0) out uvec4 vertex;

void main() {
  int v = (int(gl_FragCoord.y) << 11) + int(gl_FragCoord.x);
  vertex = uvec4(0u);
  if (v >= vertexCount) return;
  vec3 aligned = texelFetch(meshMean, place(v), 0).xyz;
  for (int k = 0; k < rank; ++k) {
    vec3 levels = vec3(texelFetch(meshComponents, place(k * vertexCount + v), 0).xyz);
    aligned += texelFetch(coefficients, place(k), 0).x * levels;
  }
  vertex = uvec4(floatBitsToUint(rigid * vec4(aligned, 1.0)), 0u);
}
