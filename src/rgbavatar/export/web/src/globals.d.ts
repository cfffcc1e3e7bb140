// What is no TypeScript but is imported or looked at.

declare module "*.vert" {
  const source: string;
  export default source;
}
declare module "*.frag" {
  const source: string;
  export default source;
}
declare module "*.glsl" {
  const source: string;
  export default source;
}
