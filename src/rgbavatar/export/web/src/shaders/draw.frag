// One splat in one pixel; colours leave multiplied by alpha.
flat in vec2 centre;
flat in vec3 conic;
flat in vec4 paint;
layout(location = 0) out vec4 color;

void main() {
  vec2 d = gl_FragCoord.xy - 0.5 - centre;
  float form = d.x * (conic.x * d.x + 2.0 * conic.y * d.y) + conic.z * d.y * d.y;
  float alpha = min(0.99, paint.w * exp(-0.5 * form));
  if (!(alpha >= 1.0 / 255.0)) discard;
  color = vec4(paint.rgb * alpha, alpha);
}
