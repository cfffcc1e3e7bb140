// Cameras: OpenCV axes (x right, y down, z forward), x_cam = R x + t in metres; intrinsics in pixels, the centre of the first
// pixel at (0.5, 0.5). A 3 x 4 or 3 x 3 matrix lies by rows.

import type { Avatar } from "./avatar.ts";

export type Vector = [number, number, number];

// How the viewer looks at the head; all zero (and zoom 1): as it was recorded.
export interface View {
  yaw: number; // radians: the head turns to the right of the picture
  pitch: number; // radians: the head's top comes nearer
  zoom: number; // factor of the focal length
  panX: number; // of the picture's shorter side
  panY: number;
}

export interface Camera {
  worldToCamera: Float32Array; // [3, 4]
  intrinsics: [number, number, number, number]; // fx, fy, cx, cy
  width: number;
  height: number;
}

export const RECORDED: Readonly<View> = { yaw: 0, pitch: 0, zoom: 1, panX: 0, panY: 0 };

// The camera of a frame's recording, moved as the viewer wants, for a picture of so many pixels. The recorded picture is shown
// whole, in the middle.
export function cameraOf(avatar: Avatar, frame: number, view: View, width: number, height: number): Camera {
  const { header } = avatar.payload;
  const own = (name: string, size: number) => {
    const all = avatar.payload.floats(name);
    const index = all.length > size ? frame : 0;
    return all.subarray(index * size, (index + 1) * size);
  };
  const [fx, fy, cx, cy] = own("intrinsics", 4) as unknown as [number, number, number, number];
  const scale = Math.min(width / header.width, height / header.height) * view.zoom;
  const side = Math.min(width, height);
  return {
    worldToCamera: circle(own("world_to_camera", 12), header.center, view),
    intrinsics: [
      fx * scale,
      fy * scale,
      (cx - header.width / 2) * scale + width / 2 + view.panX * side,
      (cy - header.height / 2) * scale + height / 2 + view.panY * side,
    ],
    width,
    height,
  };
}

// The camera P = (R, t) after the world is turned about a centre c: about the picture's upward axis by yaw, then about its
// rightward axis by pitch. x_cam = R (T (x - c) + c) + t.
function circle(camera: Float32Array, center: Vector, view: View): Float32Array {
  const row = (i: number): Vector => [camera[4 * i]!, camera[4 * i + 1]!, camera[4 * i + 2]!];
  const up = row(1).map((x) => -x) as Vector;
  const turn = multiply(rotation(row(0), view.pitch), rotation(up, view.yaw));
  const turned = multiply([...row(0), ...row(1), ...row(2)], turn);
  const moved = new Float32Array(12);
  for (let i = 0; i < 3; ++i) {
    let offset = camera[4 * i + 3]!;
    for (let j = 0; j < 3; ++j) {
      moved[4 * i + j] = turned[3 * i + j]!;
      offset += (camera[4 * i + j]! - turned[3 * i + j]!) * center[j]!;
    }
    moved[4 * i + 3] = offset;
  }
  return moved;
}

// By an angle about a unit axis (Rodrigues), [3, 3].
function rotation([x, y, z]: Vector, angle: number): number[] {
  const s = Math.sin(angle);
  const c = Math.cos(angle);
  const d = 1 - c;
  return [
    [c + d * x * x, d * x * y - s * z, d * x * z + s * y],
    [d * x * y + s * z, c + d * y * y, d * y * z - s * x],
    [d * x * z - s * y, d * y * z + s * x, c + d * z * z],
  ].flat();
}

function multiply(a: number[], b: number[]): number[] {
  return a.map((_, at) => {
    const row = 3 * Math.floor(at / 3);
    return [0, 1, 2].reduce((sum, k) => sum + a[row + k]! * b[3 * k + (at % 3)]!, 0);
  });
}
