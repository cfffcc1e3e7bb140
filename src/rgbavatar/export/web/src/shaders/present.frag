// The finished picture, its first row at the top.
uniform sampler2D picture;
layout(location = 0) out vec4 color;

void main() {
  ivec2 pixel = ivec2(gl_FragCoord.xy);
  color = vec4(texelFetch(picture, ivec2(pixel.x, textureSize(picture, 0).y - 1 - pixel.y), 0).rgb, 1.0);
}
