/** The last points of a figure over time. Outside React's state: a chart reads it when it draws. */
export class Ring {
  readonly #times: Float64Array;
  readonly #values: Float64Array;
  #next = 0;
  #length = 0;

  constructor(capacity: number) {
    this.#times = new Float64Array(capacity);
    this.#values = new Float64Array(capacity);
  }

  /** Times must ascend; a point that is not later than the last takes its place. */
  push(timeMs: number, value: number): void {
    const last = this.last;
    if (last !== undefined && timeMs <= last.timeMs) {
      this.#values[this.#at(this.#length - 1)] = value;
      return;
    }
    this.#times[this.#next] = timeMs;
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.#times.length;
    this.#length = Math.min(this.#length + 1, this.#times.length);
  }

  get length(): number {
    return this.#length;
  }

  get last(): { timeMs: number; value: number } | undefined {
    if (this.#length === 0) return undefined;
    const at = this.#at(this.#length - 1);
    return { timeMs: this.#times[at] ?? 0, value: this.#values[at] ?? 0 };
  }

  /** Times and values, oldest first, from `sinceMs` on. */
  since(sinceMs = -Infinity): { times: Float64Array; values: Float64Array } {
    let skipped = 0;
    while (skipped < this.#length && (this.#times[this.#at(skipped)] ?? 0) < sinceMs) skipped += 1;
    const length = this.#length - skipped;
    const times = new Float64Array(length);
    const values = new Float64Array(length);
    for (let index = 0; index < length; index += 1) {
      const at = this.#at(index + skipped);
      times[index] = this.#times[at] ?? 0;
      values[index] = this.#values[at] ?? 0;
    }
    return { times, values };
  }

  #at(index: number): number {
    const capacity = this.#times.length;
    return (this.#next - this.#length + index + capacity) % capacity;
  }
}

/** Rings as columns for a chart: times in seconds, and a gap where a ring has no number. Rings that
 * are pushed together have the same times. */
export function aligned(rings: readonly Ring[], sinceMs: number): [number[], ...(number | null)[][]] {
  const columns = rings.map((each) => each.since(sinceMs));
  const longest = columns.reduce((best, each) => (each.times.length > best.times.length ? each : best), {
    times: new Float64Array(),
    values: new Float64Array(),
  });
  const values = columns.map(({ times, values }) => {
    const skipped = longest.times.length - times.length;
    return Array.from(longest.times, (_, at) => numberOrGap(values[at - skipped]));
  });
  return [Array.from(longest.times, (time) => time / 1000), ...values];
}

function numberOrGap(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : value;
}
