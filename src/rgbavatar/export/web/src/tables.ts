// The avatar's numbers as the tables that shaders/splats.frag and shaders/vertices.frag read.

import type { Avatar } from "./avatar.ts";
import { type GL, kindsOf, makeTable } from "./gl.ts";

export interface Tables {
  base: WebGLTexture;
  binding: WebGLTexture;
  bases: WebGLTexture;
  meshMean: WebGLTexture;
  meshComponents: WebGLTexture;
}

const BASE_PARTS = 5;
const BASIS_PARTS = 3;
const CHANNELS = 4;

export function makeTables(gl: GL, avatar: Avatar): Tables {
  const { payload, count, bases, rank } = avatar;
  const kinds = kindsOf(gl);
  const vertices = payload.shape("mesh_mean")[0]!;
  const components = payload.integers("mesh_components") as Int16Array;
  return {
    base: makeTable(gl, kinds.float4, BASE_PARTS * count, packBase(avatar)),
    binding: makeTable(gl, kinds.word4, count, packBinding(avatar)),
    bases: makeTable(gl, kinds.byte4, BASIS_PARTS * bases * count, packBases(avatar)),
    meshMean: makeTable(gl, kinds.float3, vertices, payload.floats("mesh_mean")),
    meshComponents: makeTable(gl, kinds.short3, rank * vertices, components),
  };
}

// Copy a table of `width` columns into the channels of a packed one, from the entry and the channel on.
function place<T extends Float32Array | Int8Array>(to: T, entry: number, channel: number, from: T, width: number): void {
  for (let i = 0, at = CHANNELS * entry + channel; i < from.length; i += width, at += CHANNELS) {
    for (let c = 0; c < width; ++c) to[at + c] = from[i + c]!;
  }
}

function packBase({ payload, count }: Avatar): Float32Array {
  const table = new Float32Array(CHANNELS * BASE_PARTS * count);
  const put = (part: number, channel: number, name: string, width: number) =>
    place(table, part * count, channel, payload.floats(name), width);
  put(0, 0, "mean", 3);
  put(0, 3, "opacity_logit", 1);
  put(1, 0, "rotation", 4);
  put(2, 0, "sh", 3);
  put(2, 3, "basis_sh_step", 1);
  put(3, 0, "log_scale", 3);
  put(3, 3, "basis_mean_step", 1);
  put(4, 0, "basis_rotation_step", 1);
  const tangents = payload.floats("tangents");
  payload.integers("face_ids").forEach((face, i) => {
    table.set(tangents.subarray(2 * face, 2 * face + 2), CHANNELS * (4 * count + i) + 1);
  });
  return table;
}

function packBinding({ payload, count }: Avatar): Uint32Array {
  const table = new Uint32Array(CHANNELS * count);
  const faces = payload.integers("faces");
  const weights = payload.integers("barycentrics");
  payload.integers("face_ids").forEach((face, i) => {
    for (let corner = 0; corner < 3; ++corner) table[CHANNELS * i + corner] = faces[3 * face + corner]!;
    table[CHANNELS * i + 3] = weights[2 * i]! | (weights[2 * i + 1]! << 16);
  });
  return table;
}

function packBases({ payload, count, bases }: Avatar): Int8Array {
  const table = new Int8Array(CHANNELS * BASIS_PARTS * bases * count);
  ([["basis_mean", 3], ["basis_rotation", 4], ["basis_sh", 3]] as const).forEach(([name, width], part) => {
    const all = payload.integers(name) as Int8Array;
    for (let k = 0; k < bases; ++k) {
      const own = all.subarray(k * count * width, (k + 1) * count * width);
      place(table, (BASIS_PARTS * k + part) * count, 0, own, width);
    }
  });
  return table;
}
