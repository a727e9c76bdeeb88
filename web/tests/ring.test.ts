import { describe, expect, test } from "vitest";
import { aligned, Ring } from "../src/live/ring.ts";

describe("a ring", () => {
  test("keeps the last points in order, whatever its capacity", () => {
    for (const capacity of [1, 2, 3, 7]) {
      for (const pushed of [0, 1, capacity, capacity + 1, 3 * capacity + 2]) {
        const ring = new Ring(capacity);
        for (let at = 0; at < pushed; at += 1) ring.push(at, at * 10);
        const from = Math.max(0, pushed - capacity);
        const expected = Array.from({ length: pushed - from }, (_, at) => from + at);
        expect(Array.from(ring.since().times)).toEqual(expected);
        expect(Array.from(ring.since().values)).toEqual(expected.map((each) => each * 10));
        expect(ring.length).toBe(expected.length);
      }
    }
  });

  test("answers only what is young enough", () => {
    const ring = new Ring(4);
    for (const time of [10, 20, 30, 40, 50]) ring.push(time, time);
    expect(Array.from(ring.since(30).times)).toEqual([30, 40, 50]);
    expect(Array.from(ring.since(51).times)).toEqual([]);
  });

  test("replaces its last point where time stands still or goes back", () => {
    const ring = new Ring(3);
    ring.push(10, 1);
    ring.push(10, 2);
    ring.push(9, 3);
    expect(ring.last).toEqual({ timeMs: 10, value: 3 });
    expect(ring.length).toBe(1);
  });
});

describe("columns of a chart", () => {
  test("have a gap where a ring has no number or began later", () => {
    const [early, late] = [new Ring(5), new Ring(5)];
    for (const time of [1000, 2000, 3000]) early.push(time, time === 2000 ? NaN : time);
    late.push(3000, 7);
    expect(aligned([early, late], 0)).toEqual([
      [1, 2, 3],
      [1000, null, 3000],
      [null, null, 7],
    ]);
  });

  test("are empty without points", () => {
    expect(aligned([new Ring(2)], 0)).toEqual([[], []]);
  });
});
