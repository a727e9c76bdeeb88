import { describe, expect, test } from "vitest";
import { BACKOFF_MS_MAX, backoffMs, follow, Parser, type StreamEvent } from "../src/live/stream.ts";

const TEXT = "retry: 500\n\n: a beat\n\nid: 7.0\nevent: block\ndata: {\"a\":\ndata: 1}\n\nevent: live\r\ndata: é\r\n\r\nid: 7.1\ndata\n\n";
const EVENTS: StreamEvent[] = [
  { id: "7.0", kind: "block", data: '{"a":\n1}' },
  { id: "7.0", kind: "live", data: "é" },
  { id: "7.1", kind: "message", data: "" },
];

describe("the parser", () => {
  test("finds the same events wherever the text is cut", () => {
    for (let first = 0; first <= TEXT.length; first += 1) {
      for (const second of [first, Math.min(TEXT.length, first + 1), TEXT.length]) {
        const parser = new Parser();
        const pieces = [TEXT.slice(0, first), TEXT.slice(first, second), TEXT.slice(second)];
        expect(pieces.flatMap((each) => parser.take(each))).toEqual(EVENTS);
        expect(parser.lastId).toBe("7.1");
        expect(parser.retryMs).toBe(500);
      }
    }
  });

  test("does not count an event whose end did not come", () => {
    const parser = new Parser("6.0");
    expect(parser.take("id: 7.0\nevent: block\ndata: x\n")).toEqual([]);
    expect(parser.lastId).toBe("6.0");
  });

  test("refuses a line without end", () => {
    const parser = new Parser();
    expect(() => parser.take("x".repeat(5 << 20))).toThrow("without end");
  });
});

test("waits longer each time, up to a bound, never not at all", () => {
  const waits = Array.from({ length: 40 }, (_, attempt) => backoffMs(attempt, 1));
  expect(waits).toEqual([...waits].sort((one, other) => one - other));
  expect(waits.at(-1)).toBe(BACKOFF_MS_MAX);
  expect(backoffMs(0, 0)).toBeGreaterThan(100);
});

function answer(text: string): Response {
  return new Response(text, { headers: { "content-type": "text/event-stream" } });
}

/** Follows connections that say `texts` one after the other; what was asked, seen and waited. */
async function followed(
  texts: readonly (string | number)[],
  onEvent: (event: StreamEvent) => string | undefined = () => undefined,
): Promise<{ asked: (string | null)[]; seen: string[]; lost: string[]; paused: number[] }> {
  const ending = new AbortController();
  const found = { asked: [] as (string | null)[], seen: [] as string[], lost: [] as string[], paused: [] as number[] };
  await follow(
    "/events",
    {
      heard: () => undefined,
      event: (event) => (found.seen.push(event.id), onEvent(event)),
      lost: (reason) => void found.lost.push(reason),
    },
    ending.signal,
    async (_, init) => {
      const next = texts[found.asked.length];
      found.asked.push(new Headers(init.headers).get("last-event-id"));
      if (typeof next === "number") return new Response("", { status: next });
      return answer(next ?? "");
    },
    async (ms) => {
      found.paused.push(ms);
      if (found.asked.length >= texts.length) ending.abort();
    },
  );
  return found;
}

describe("following", () => {
  test("resumes after the last whole event", async () => {
    const found = await followed(["id: 1.0\ndata: a\n\nid: 1.1\ndata: b\n\nid: 2.0\ndata: half", 503, "id: 2.0\ndata: c\n\n"]);
    expect(found.asked).toEqual([null, "1.1", "1.1"]);
    expect(found.seen).toEqual(["1.0", "1.1", "2.0"]);
    expect(found.lost).toEqual(["the stream ended", "HTTP 503", "the stream ended"]);
  });

  test("resumes where a reset says", async () => {
    const found = await followed(["id: 1.0\ndata: a\n\nevent: reset\ndata: 9.3\n\n", "id: 9.4\ndata: b\n\n"], (event) =>
      event.kind === "reset" ? event.data : undefined,
    );
    expect(found.asked).toEqual([null, "9.3"]);
  });

  test("waits as long as the node asks at least", async () => {
    const found = await followed(["retry: 60000\n\n"]);
    expect(found.paused).toEqual([60_000]);
  });
});
