import { describe, expect, test } from "vitest";
import * as format from "../src/format.ts";

const plain = (text: string): string => text.replaceAll("\u202f", ",");

describe("amounts", () => {
  test("are exact to the last nCAES, beyond what a double holds", () => {
    expect(plain(format.caes(1))).toBe("0.000000001");
    expect(plain(format.caes(1_500_000_000))).toBe("1.5");
    expect(plain(format.caes(-2_000_000_000))).toBe("−2");
    expect(plain(format.caes(9_223_372_036_854_775_807n))).toBe("9,223,372,036.854775807");
  });

  test("add up exactly", () => {
    expect(format.sum(1, 9_223_372_036_854_775_806n, null)).toBe(9_223_372_036_854_775_807n);
  });

  test("are read back as they were written", () => {
    for (const amount of [1, 10, 123_456_789, 1_000_000_000, 7_500_000_001]) {
      expect(format.parseCaes(plain(format.caes(amount)).replaceAll(",", ""))).toBe(amount);
    }
    for (const wrong of ["", "-1", "1e3", "1.0000000001", "1,5", "0x1", "12345678"]) {
      expect(format.parseCaes(wrong)).toBeNull();
    }
  });

  test("little is never shown as nothing", () => {
    expect(format.caesFigure(0)).toEqual({ value: "0", unit: "CAES" });
    expect(format.caesFigure(1)).toEqual({ value: "1", unit: "nCAES" });
    expect(format.caesFigure(1_234_567)).toEqual({ value: "0.0012", unit: "CAES" });
  });

  test("a headline has no more than there is", () => {
    expect(format.caesFigure(98_999_997_894)).toEqual({ value: "98.99", unit: "CAES" });
    expect(format.caesFigure(99_000_000_000)).toEqual({ value: "99", unit: "CAES" });
  });
});

test("bytes, read and written", () => {
  expect(format.bytes(0)).toBe("0 B");
  expect(format.bytes(1536)).toBe("1.5 KiB");
  expect(format.bytes(256 * 2 ** 20)).toBe("256 MiB");
  expect(format.parseBytes("64MiB")).toBe(64 * 2 ** 20);
  expect(format.parseBytes("1.5 GiB")).toBe(1.5 * 2 ** 30);
  expect(format.parseBytes("100")).toBe(100);
  for (const wrong of ["", "0", "1.5", "64MB", "-1", "1 XiB"]) expect(format.parseBytes(wrong)).toBeNull();
});

test("durations at each border", () => {
  const at: [number, string][] = [
    [0.25, "250 µs"],
    [1, "1 ms"],
    [999, "999 ms"],
    [1000, "1 s"],
    [59_000, "59 s"],
    [60_000, "1 min"],
    [90_000, "1 min 30 s"],
    [3_600_000, "1 h"],
    [172_800_000, "2 days"],
  ];
  for (const [ms, words] of at) expect(format.duration(ms)).toBe(words);
});

test("units of each kind", () => {
  expect(format.units(1000, "cpu")).toBe("1 core");
  expect(format.units(250, "cpu")).toBe("0.25 cores");
  expect(format.units(2 ** 30, "memory")).toBe("1 GiB");
  expect(format.units(null, "memory")).toBe("not shown");
});

test("ages and plurals", () => {
  expect(format.ago(1000, 2000)).toBe("just now");
  expect(format.ago(1000, 11_000)).toBe("10 s ago");
  expect(format.plural(1, "node")).toBe("1 node");
  expect(format.plural(2, "node")).toBe("2 nodes");
});
