// Drawing an avatar with WebGL2, in two halves with a sort between them.
//
// *Posing* computes vertices and then splats, on the GPU. Their depths come back, the CPU sorts them, and *painting* blends the
// splats in that order. Depths are waited for without blocking: a few *slots* hold posed scenes, and each is painted by its own
// order once that is known. So what is on the screen is always in the right order, one or two pictures late.

import type { Avatar } from "./avatar.ts";
import type { Camera } from "./camera.ts";
import {
  bindSampler, deleteTarget, fillTable, isComplete, kindsOf, makeProgram, makeTable, makeTarget, rowsOf, TABLE_WIDTH,
  type GL, type Program, type Target,
} from "./gl.ts";
import { DepthSorter } from "./order.ts";
import drawFragment from "./shaders/draw.frag";
import drawVertex from "./shaders/draw.vert";
import flat from "./shaders/flat.glsl";
import presentFragment from "./shaders/present.frag";
import screenVertex from "./shaders/screen.vert";
import splatsFragment from "./shaders/splats.frag";
import verticesFragment from "./shaders/vertices.frag";
import { makeTables, type Tables } from "./tables.ts";

export type Color = [number, number, number]; // RGB in [0, 1]

export interface Scene {
  frame: number;
  weights: Float32Array; // [K]
  camera: Camera;
  scale: number; // factor of the Gaussians' size
  background: Color;
}

export interface Picture {
  width: number;
  height: number;
  pixels: Uint8Array; // RGBA, the top row first
}

interface Slot {
  splats: Target; // two layers: shape and rest, as shaders/splats.frag has them
  pending: { scene: Scene; depths: WebGLBuffer; fence: WebGLSync } | null;
}

const SLOTS = 2;
const WORDS = 4; // of an entry of a target
const DEPTH_WORD = 1; // of the layer `rest`
const CORNERS = [0, 1, 2, 2, 1, 3]; // of a rectangle's two triangles, as shaders/draw.vert counts them

export class Renderer {
  private readonly programs: Record<"vertices" | "splats" | "draw" | "present", Program>;
  private readonly tables: Tables;
  private readonly coefficients: WebGLTexture;
  private readonly weights: WebGLTexture;
  private readonly vertices: Target;
  private readonly slots: Slot[];
  private readonly order: WebGLTexture;
  private readonly rectangles: WebGLVertexArrayObject;
  private readonly nothing: WebGLVertexArrayObject;
  private readonly sorter = new DepthSorter();
  private readonly depths: Uint32Array;
  private readonly paintFormat: number;
  private paint: Target | null = null;
  private next = 0; // the slot that is posed next; the pending one that is painted next follows it

  constructor(
    private readonly gl: GL,
    private readonly avatar: Avatar,
  ) {
    const program = (vertex: string, fragment: string) => makeProgram(gl, flat, vertex, fragment);
    this.programs = {
      vertices: program(screenVertex, verticesFragment),
      splats: program(screenVertex, splatsFragment),
      draw: program(drawVertex, drawFragment),
      present: program(screenVertex, presentFragment),
    };
    const kinds = kindsOf(gl);
    this.tables = makeTables(gl, avatar);
    this.coefficients = makeTable(gl, kinds.float1, avatar.rank);
    this.weights = makeTable(gl, kinds.float1, avatar.bases);
    this.vertices = this.makeIntegers(this.vertexCount, 1);
    this.slots = Array.from({ length: SLOTS }, () => this.makeSlot());
    this.depths = new Uint32Array(WORDS * TABLE_WIDTH * rowsOf(avatar.count));
    this.order = makeTable(gl, kinds.word1, avatar.count);
    this.nothing = gl.createVertexArray();
    this.rectangles = this.makeRectangles();
    this.paintFormat = choosePaintFormat(gl);
    gl.disable(gl.DITHER);
  }

  // Begin a scene, if a slot is free for it; says whether it was.
  start(scene: Scene): boolean {
    const { gl } = this;
    const slot = this.slots[this.next]!;
    if (slot.pending) return false;
    this.pose(slot, scene);
    const depths = this.copyDepths(slot);
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    if (fence) slot.pending = { scene, depths, fence };
    this.next = (this.next + 1) % SLOTS;
    return true;
  }

  // Show the oldest scene that was begun, if its depths have come; says whether it did.
  finish(): boolean {
    const { gl } = this;
    const waiting = [...this.slots.slice(this.next), ...this.slots.slice(0, this.next)].find((slot) => slot.pending);
    if (!waiting?.pending) return false;
    const { scene, depths, fence } = waiting.pending;
    if (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) return false;
    waiting.pending = null;
    gl.deleteSync(fence);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, depths);
    gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, this.depths);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    gl.deleteBuffer(depths);
    this.paint = this.fitPaint(this.paint, scene.camera);
    this.paintSplats(waiting, scene, this.paint);
    fitCanvas(gl.canvas, scene.camera);
    this.present(this.paint, null);
    return true;
  }

  // One scene at once, without the screen: the same numbers whatever was drawn before.
  picture(scene: Scene): Picture {
    const { gl } = this;
    const { width, height } = scene.camera;
    const slot = this.makeSlot();
    this.pose(slot, scene);
    this.bindDepths(slot);
    gl.readPixels(0, 0, TABLE_WIDTH, this.depthRows, gl.RGBA_INTEGER, gl.UNSIGNED_INT, this.depths);
    const paint = this.fitPaint(null, scene.camera);
    this.paintSplats(slot, scene, paint);
    const shown = makeTarget(gl, gl.RGBA8, width, height, 1);
    this.present(paint, shown);
    const pixels = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    [slot.splats, paint, shown].forEach((target) => deleteTarget(gl, target));
    return { width, height, pixels: flipRows(pixels, 4 * width) };
  }

  private get depthRows(): number {
    return rowsOf(this.avatar.count);
  }

  private get vertexCount(): number {
    return this.avatar.payload.shape("mesh_mean")[0]!;
  }

  private pose(slot: Slot, scene: Scene): void {
    const { gl, avatar } = this;
    const { vertices, splats } = this.programs;
    const kinds = kindsOf(gl);
    gl.bindVertexArray(this.nothing);
    gl.disable(gl.BLEND);
    fillTable(gl, kinds.float1, this.coefficients, avatar.meshCoefficients(scene.frame));
    fillTable(gl, kinds.float1, this.weights, scene.weights);

    this.use(vertices, this.vertices);
    bindSampler(gl, vertices, "meshMean", 0, this.tables.meshMean);
    bindSampler(gl, vertices, "meshComponents", 1, this.tables.meshComponents);
    bindSampler(gl, vertices, "coefficients", 2, this.coefficients);
    gl.uniform1i(vertices.at("vertexCount"), this.vertexCount);
    gl.uniform1i(vertices.at("rank"), avatar.rank);
    gl.uniformMatrix4x3fv(vertices.at("rigid"), true, avatar.rigid(scene.frame));
    gl.drawArrays(gl.TRIANGLES, 0, 3);

    this.use(splats, slot.splats);
    bindSampler(gl, splats, "base", 0, this.tables.base);
    bindSampler(gl, splats, "binding", 1, this.tables.binding);
    bindSampler(gl, splats, "bases", 2, this.tables.bases);
    bindSampler(gl, splats, "weights", 3, this.weights);
    bindSampler(gl, splats, "vertices", 4, this.vertices.textures[0]!);
    gl.uniform1i(splats.at("count"), avatar.count);
    gl.uniform1i(splats.at("baseCount"), avatar.baseCount);
    gl.uniformMatrix4x3fv(splats.at("worldToCamera"), true, scene.camera.worldToCamera);
    gl.uniform4fv(splats.at("intrinsics"), scene.camera.intrinsics);
    gl.uniform2f(splats.at("size"), scene.camera.width, scene.camera.height);
    gl.uniform1f(splats.at("scaleFactor"), scene.scale);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  // The depths as they will be once the GPU gets there. The buffer is a new one each time: browsers prepare for it to be read.
  private copyDepths(slot: Slot): WebGLBuffer {
    const { gl } = this;
    const depths = gl.createBuffer();
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, depths);
    gl.bufferData(gl.PIXEL_PACK_BUFFER, this.depths.byteLength, gl.STREAM_READ);
    this.bindDepths(slot);
    gl.readPixels(0, 0, TABLE_WIDTH, this.depthRows, gl.RGBA_INTEGER, gl.UNSIGNED_INT, 0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    return depths;
  }

  private bindDepths(slot: Slot): void {
    const { gl } = this;
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, slot.splats.framebuffer);
    gl.readBuffer(gl.COLOR_ATTACHMENT1);
  }

  // Blend the splats over the background, from the farthest to the nearest, by the depths that have come.
  private paintSplats(slot: Slot, scene: Scene, target: Target): void {
    const { gl } = this;
    const { draw } = this.programs;
    const order = this.sorter.sort(this.depths, DEPTH_WORD, WORDS, this.avatar.count);
    this.use(draw, target);
    gl.clearColor(...scene.background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (order.length === 0) return;
    gl.bindVertexArray(this.rectangles);
    fillTable(gl, kindsOf(gl).word1, this.order, order);
    bindSampler(gl, draw, "shapes", 0, slot.splats.textures[0]!);
    bindSampler(gl, draw, "rests", 1, slot.splats.textures[1]!);
    bindSampler(gl, draw, "order", 2, this.order);
    gl.uniform2f(draw.at("size"), target.width, target.height);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.drawElements(gl.TRIANGLES, CORNERS.length * order.length, gl.UNSIGNED_INT, 0);
    gl.disable(gl.BLEND);
  }

  // The painted picture on the canvas, or in a target of 8 bits.
  private present(painted: Target, target: Target | null): void {
    const { gl } = this;
    gl.bindVertexArray(this.nothing);
    this.use(this.programs.present, target ?? { framebuffer: null, width: painted.width, height: painted.height });
    bindSampler(gl, this.programs.present, "picture", 0, painted.textures[0]!);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  private use(program: Program, target: Pick<Target, "width" | "height"> & { framebuffer: WebGLFramebuffer | null }): void {
    const { gl } = this;
    gl.useProgram(program.handle);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.framebuffer);
    gl.viewport(0, 0, target.width, target.height);
  }

  private makeIntegers(entries: number, layers: number): Target {
    return makeTarget(this.gl, this.gl.RGBA32UI, TABLE_WIDTH, rowsOf(entries), layers);
  }

  private makeSlot(): Slot {
    return { splats: this.makeIntegers(this.avatar.count, 2), pending: null };
  }

  // Two triangles for each splat. One call without instances: many GPUs are slow at instances of four vertices.
  private makeRectangles(): WebGLVertexArrayObject {
    const { gl } = this;
    const indices = new Uint32Array(CORNERS.length * this.avatar.count);
    for (let i = 0; i < indices.length; ++i) {
      indices[i] = 4 * Math.floor(i / CORNERS.length) + CORNERS[i % CORNERS.length]!;
    }
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    return array;
  }

  private fitPaint(target: Target | null, { width, height }: Camera): Target {
    if (target?.width === width && target.height === height) return target;
    if (target) deleteTarget(this.gl, target);
    return makeTarget(this.gl, this.paintFormat, width, height, 1);
  }
}

// Half floats where they can be blended, so that rounding does not add up over the layers; else bytes.
function choosePaintFormat(gl: GL): number {
  if (!(gl.getExtension("EXT_color_buffer_float") ?? gl.getExtension("EXT_color_buffer_half_float"))) return gl.RGBA8;
  const trial = makeTarget(gl, gl.RGBA16F, 1, 1, 1);
  const format = isComplete(gl, trial) ? gl.RGBA16F : gl.RGBA8;
  deleteTarget(gl, trial);
  return format;
}

// Set only where it differs: setting the size clears the canvas.
function fitCanvas(canvas: HTMLCanvasElement | OffscreenCanvas, { width, height }: Camera): void {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

function flipRows(pixels: Uint8Array, row: number): Uint8Array {
  const flipped = new Uint8Array(pixels.length);
  for (let at = 0; at < pixels.length; at += row) flipped.set(pixels.subarray(at, at + row), pixels.length - row - at);
  return flipped;
}
