#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp isampler2D;
precision highp usampler2D;

// Tables lie in textures row by row: entry i is the texel (i mod 2048, i / 2048). Keep in step with TABLE_WIDTH in gl.ts.
ivec2 place(int i) { return ivec2(i & 2047, i >> 11); }
