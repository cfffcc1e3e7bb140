// The order in which splats are painted: the farthest first; of equal depth, the one of the higher index first, as the
// renderer that trained the avatar has it.

const DIGIT_BITS = 11; // three digits make the 32 bits of a float
const DIGITS = 1 << DIGIT_BITS;

export class DepthSorter {
  private keys: [Uint32Array, Uint32Array] = [new Uint32Array(0), new Uint32Array(0)];
  private items: [Uint32Array, Uint32Array] = [new Uint32Array(0), new Uint32Array(0)];
  private readonly begins = new Uint32Array(DIGITS);

  // depths: bits of float32, every `stride`-th word from `offset` on, for `count` splats; 0 for one that is not to be painted.
  // Returns the indices of the others; they are overwritten by the next call.
  sort(depths: Uint32Array, offset: number, stride: number, count: number): Uint32Array {
    this.reserve(count);
    let visible = 0;
    for (let i = count - 1; i >= 0; --i) {
      const bits = depths[offset + stride * i]!;
      if (bits === 0) continue;
      this.keys[0][visible] = ~bits; // floats above 0 are ordered as their bits are; here the largest comes first
      this.items[0][visible++] = i;
    }
    for (let shift = 0; shift < 32; shift += DIGIT_BITS) this.pass(shift, visible);
    return this.items[0].subarray(0, visible);
  }

  // A stable counting sort by one digit.
  private pass(shift: number, count: number): void {
    const [keys, sortedKeys] = this.keys;
    const [items, sortedItems] = this.items;
    const begins = this.begins.fill(0);
    for (let i = 0; i < count; ++i) ++begins[(keys[i]! >>> shift) & (DIGITS - 1)]!;
    let sum = 0;
    for (let digit = 0; digit < DIGITS; ++digit) {
      const size = begins[digit]!;
      begins[digit] = sum;
      sum += size;
    }
    for (let i = 0; i < count; ++i) {
      const to = begins[(keys[i]! >>> shift) & (DIGITS - 1)]!++;
      sortedKeys[to] = keys[i]!;
      sortedItems[to] = items[i]!;
    }
    this.keys = [sortedKeys, keys];
    this.items = [sortedItems, items];
  }

  private reserve(count: number): void {
    if (this.keys[0].length >= count) return;
    this.keys = [new Uint32Array(count), new Uint32Array(count)];
    this.items = [new Uint32Array(count), new Uint32Array(count)];
  }
}
