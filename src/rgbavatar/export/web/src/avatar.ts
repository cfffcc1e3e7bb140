// The avatar and its motion as numbers in memory, and what a frame needs of them. Symbols as in the payload's description:
// N Gaussians, K bases, V vertices, n frames, R components, C code entries.

import type { Payload } from "./payload.ts";

const FULL = 32767; // levels of a 16-bit number on either side of 0

export interface Range {
  least: number;
  most: number;
}

export class Avatar {
  readonly count: number; // N
  readonly bases: number; // K
  readonly baseCount: number; // of bases that take part: K, or 0 where training has not got to them
  readonly frames: number; // n
  readonly rank: number; // R
  readonly numbers: number[]; // of the frames, as the recording counts them
  private readonly weightTable: Float32Array; // [n, K]: what the network says
  private readonly coefficients: Int16Array;
  private readonly steps: Float32Array;
  private readonly rigids: Float32Array;

  constructor(readonly payload: Payload) {
    [this.bases, this.count] = payload.shape("basis_mean") as [number, number];
    this.baseCount = payload.header.uses_bases ? this.bases : 0;
    this.numbers = Array.from(payload.integers("numbers"));
    this.frames = this.numbers.length;
    this.steps = payload.floats("mesh_steps");
    this.rank = this.steps.length;
    this.coefficients = payload.integers("mesh_coefficients") as Int16Array;
    this.rigids = payload.floats("mesh_rigid");
    this.weightTable = this.allWeights();
  }

  // The weights [K] that the network gives to the bases in a frame.
  weights(frame: number): Float32Array {
    return this.weightTable.slice(frame * this.bases, (frame + 1) * this.bases);
  }

  // The components' coefficients [R] in a frame, times the metres of one of their levels.
  meshCoefficients(frame: number): Float32Array {
    return this.steps.map((step, k) => (step * this.coefficients[frame * this.rank + k]!) / FULL);
  }

  // Rotation and translation of a frame's mesh, [3, 4] by rows.
  rigid(frame: number): Float32Array {
    return this.rigids.subarray(12 * frame, 12 * (frame + 1));
  }

  // Between which values the network keeps the weight of a basis over all frames.
  weightRange(basis: number): Range {
    const range = { least: Infinity, most: -Infinity };
    for (let frame = 0; frame < this.frames; ++frame) {
      const weight = this.weightTable[frame * this.bases + basis]!;
      range.least = Math.min(range.least, weight);
      range.most = Math.max(range.most, weight);
    }
    return range;
  }

  private allWeights(): Float32Array {
    const codes = this.payload.floats("codes");
    const width = this.payload.shape("codes")[1]!;
    const layers = this.layers();
    const table = new Float32Array(this.frames * this.bases);
    for (let frame = 0; frame < this.frames; ++frame) {
      let values = codes.subarray(frame * width, (frame + 1) * width);
      layers.forEach((layer, i) => (values = apply(layer, values, i < layers.length - 1)));
      table.set(values, frame * this.bases);
    }
    return table;
  }

  private layers(): Layer[] {
    const layers: Layer[] = [];
    for (let i = 0; `network_${2 * i}` in this.payload.header.arrays; ++i) {
      layers.push({
        matrix: this.payload.floats(`network_${2 * i}`),
        bias: this.payload.floats(`network_${2 * i + 1}`),
      });
    }
    return layers;
  }
}

interface Layer {
  matrix: Float32Array; // [outputs, inputs] by rows
  bias: Float32Array; // [outputs]
}

function apply({ matrix, bias }: Layer, inputs: Float32Array, rectified: boolean): Float32Array<ArrayBuffer> {
  return new Float32Array(bias).map((start, row) => {
    let sum = start;
    const begin = row * inputs.length;
    for (let i = 0; i < inputs.length; ++i) sum += matrix[begin + i]! * inputs[i]!;
    return rectified ? Math.max(0, sum) : sum;
  });
}
