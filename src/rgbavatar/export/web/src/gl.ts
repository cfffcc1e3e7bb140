// Thin helpers over WebGL2: programs, tables in textures, targets.

export type GL = WebGL2RenderingContext;

export const TABLE_WIDTH = 2048; // texels in a row of a table; every WebGL2 allows it. Keep in step with shaders/flat.glsl

export interface Program {
  handle: WebGLProgram;
  at: (uniform: string) => WebGLUniformLocation | null;
}

export function makeProgram(gl: GL, common: string, vertex: string, fragment: string): Program {
  const handle = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, common + source);
    gl.compileShader(shader);
    gl.attachShader(handle, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(handle);
  if (!gl.getProgramParameter(handle, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = (gl.getAttachedShaders(handle) ?? []).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`a shader was refused: ${[...logs, gl.getProgramInfoLog(handle)].join(" ").trim()}`);
  }
  const places = new Map<string, WebGLUniformLocation | null>();
  return {
    handle,
    at: (uniform) => {
      if (!places.has(uniform)) places.set(uniform, gl.getUniformLocation(handle, uniform));
      return places.get(uniform)!;
    },
  };
}

// How the entries of a table lie in memory and on the GPU.
export interface Kind {
  internal: number;
  format: number;
  type: number;
  channels: number;
}

export function kindsOf(gl: GL) {
  return {
    float1: { internal: gl.R32F, format: gl.RED, type: gl.FLOAT, channels: 1 },
    float3: { internal: gl.RGB32F, format: gl.RGB, type: gl.FLOAT, channels: 3 },
    float4: { internal: gl.RGBA32F, format: gl.RGBA, type: gl.FLOAT, channels: 4 },
    short3: { internal: gl.RGB16I, format: gl.RGB_INTEGER, type: gl.SHORT, channels: 3 },
    byte4: { internal: gl.RGBA8I, format: gl.RGBA_INTEGER, type: gl.BYTE, channels: 4 },
    word1: { internal: gl.R32UI, format: gl.RED_INTEGER, type: gl.UNSIGNED_INT, channels: 1 },
    word4: { internal: gl.RGBA32UI, format: gl.RGBA_INTEGER, type: gl.UNSIGNED_INT, channels: 4 },
  } satisfies Record<string, Kind>;
}

export function rowsOf(entries: number): number {
  return Math.max(1, Math.ceil(entries / TABLE_WIDTH));
}

export function makeTexture(gl: GL, internal: number, width: number, height: number): WebGLTexture {
  const most = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number;
  if (Math.max(width, height) > most) {
    throw new Error(`the avatar needs textures of ${Math.max(width, height)} pixels, this GPU allows ${most}`);
  }
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texStorage2D(gl.TEXTURE_2D, 1, internal, width, height);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
  return texture;
}

type Data = Float32Array | Int16Array | Int8Array | Uint32Array;

// A table of so many entries; empty, or filled from the start.
export function makeTable(gl: GL, kind: Kind, entries: number, data?: Data): WebGLTexture {
  const texture = makeTexture(gl, kind.internal, TABLE_WIDTH, rowsOf(entries));
  if (data && data.length > 0) fillTable(gl, kind, texture, data);
  return texture;
}

export function fillTable(gl: GL, kind: Kind, texture: WebGLTexture, data: Data): void {
  const row = TABLE_WIDTH * kind.channels;
  const whole = Math.floor(data.length / row);
  const left = (data.length - whole * row) / kind.channels;
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  const put = (y: number, width: number, height: number, from: number) =>
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, y, width, height, kind.format, kind.type, data, from);
  if (whole > 0) put(0, TABLE_WIDTH, whole, 0);
  if (left > 0) put(whole, left, 1, whole * row);
}

export interface Target {
  framebuffer: WebGLFramebuffer;
  textures: WebGLTexture[];
  width: number;
  height: number;
}

export function makeTarget(gl: GL, internal: number, width: number, height: number, layers: number): Target {
  const framebuffer = gl.createFramebuffer();
  const textures = Array.from({ length: layers }, () => makeTexture(gl, internal, width, height));
  gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
  const places = textures.map((texture, i) => {
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + i, gl.TEXTURE_2D, texture, 0);
    return gl.COLOR_ATTACHMENT0 + i;
  });
  gl.drawBuffers(places);
  return { framebuffer, textures, width, height };
}

export function isComplete(gl: GL, target: Target): boolean {
  gl.bindFramebuffer(gl.FRAMEBUFFER, target.framebuffer);
  return gl.checkFramebufferStatus(gl.FRAMEBUFFER) === gl.FRAMEBUFFER_COMPLETE;
}

export function deleteTarget(gl: GL, target: Target): void {
  gl.deleteFramebuffer(target.framebuffer);
  target.textures.forEach((texture) => gl.deleteTexture(texture));
}

// Let the current program read a texture as one of its samplers.
export function bindSampler(gl: GL, program: Program, uniform: string, unit: number, texture: WebGLTexture): void {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.uniform1i(program.at(uniform), unit);
}
