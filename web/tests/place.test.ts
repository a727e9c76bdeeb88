import { describe, expect, test } from "vitest";
import { link, parsePlace } from "../src/route.ts";
import { parseEntry } from "../src/session.ts";

describe("a place", () => {
  test("comes back from its link", () => {
    const place = parsePlace(link("/assets/ab", { tab: "history", q: "a b&c", none: undefined, empty: "" }));
    expect(place.path).toEqual(["assets", "ab"]);
    expect(Object.fromEntries(place.query)).toEqual({ tab: "history", q: "a b&c" });
  });

  test("is the overview for whatever says nothing", () => {
    for (const hash of ["", "#", "#/", "#/%E0%A4%A"]) expect(() => parsePlace(hash)).not.toThrow();
    expect(parsePlace("#/").path).toEqual([]);
  });
});

describe("the session token", () => {
  test("is taken from the address, with the page to open", () => {
    expect(parseEntry("#token=abc-_1&open=/leases?which=all")).toEqual({ token: "abc-_1", open: "/leases?which=all" });
    expect(parseEntry("#token=abc")).toEqual({ token: "abc", open: "/" });
  });

  test("is nothing where there is none, and opens no other site", () => {
    expect(parseEntry("#/assets")).toEqual({ token: null, open: "/assets" });
    expect(parseEntry("#token=")).toEqual({ token: null, open: "/" });
    expect(parseEntry("#token=a&open=https://example.org")).toEqual({ token: "a", open: "/" });
  });
});
