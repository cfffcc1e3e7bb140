// Reading what the exporter put into the page: base64 of gzip of a blob (src/rgbavatar/export/page.py describes it).

const FORMAT = "rgbavatar page";
const VERSION = 1;
const CHUNK = 1 << 20; // characters of base64 turned into bytes at once; a multiple of 4

type Numbers = Float32Array | Int32Array | Int16Array | Int8Array | Uint16Array;
type Reader = (blob: ArrayBuffer, at: number, count: number) => Numbers;

const READERS: Record<string, Reader> = {
  float32: (blob, at, count) => new Float32Array(blob, at, count),
  float16: (blob, at, count) => halvesToFloats(new Uint16Array(blob, at, count)),
  int32: (blob, at, count) => new Int32Array(blob, at, count),
  int16: (blob, at, count) => new Int16Array(blob, at, count),
  int8: (blob, at, count) => new Int8Array(blob, at, count),
  uint16: (blob, at, count) => new Uint16Array(blob, at, count),
};

interface Place {
  type: string;
  shape: number[];
  at: number;
}

interface Header {
  format: string;
  version: number;
  subject: string;
  width: number;
  height: number;
  images_seen: number;
  uses_bases: boolean;
  center: [number, number, number];
  arrays: Record<string, Place>;
}

export class Payload {
  constructor(
    readonly header: Header,
    private readonly blob: ArrayBuffer,
    private readonly begin: number,
  ) {}

  floats(name: string): Float32Array {
    return this.read(name) as Float32Array;
  }

  // Whole numbers of any width.
  integers(name: string): Int32Array | Int16Array | Int8Array | Uint16Array {
    return this.read(name) as Int32Array | Int16Array | Int8Array | Uint16Array;
  }

  shape(name: string): number[] {
    return this.place(name).shape;
  }

  private read(name: string): Numbers {
    const { type, shape, at } = this.place(name);
    const reader = READERS[type];
    if (!reader) throw new Error(`the page's data has an array of type ${type}`);
    return reader(this.blob, this.begin + at, shape.reduce((product, side) => product * side, 1));
  }

  private place(name: string): Place {
    const place = this.header.arrays[name];
    if (!place) throw new Error(`the page's data lacks the array ${name}`);
    return place;
  }
}

export async function readPayload(base64: string): Promise<Payload> {
  const blob = await unpack(base64);
  const begin = 4 + new DataView(blob).getUint32(0, true);
  const header: Header = JSON.parse(new TextDecoder().decode(new Uint8Array(blob, 4, begin - 4)));
  if (header.format !== FORMAT || header.version !== VERSION) {
    throw new Error(`the page's data is ${header.format} ${header.version}, expected ${FORMAT} ${VERSION}`);
  }
  return new Payload(header, blob, begin);
}

function unpack(base64: string): Promise<ArrayBuffer> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < base64.length; at += CHUNK) {
    pieces.push(bytesOf(atob(base64.slice(at, at + CHUNK))));
  }
  return new Response(new Blob(pieces).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// Of a text whose letters are bytes; Uint8Array.from takes several times as long.
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; ++i) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// IEEE 754 binary16: sign, 5 bits of exponent (bias 15), 10 of fraction.
function halvesToFloats(halves: Uint16Array): Float32Array {
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; ++i) floats[i] = halfToFloat(halves[i]!);
  return floats;
}

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}
