/**
 * Server-sent events over `fetch` (WHATWG HTML, section 9.2): the page's own, because the browser's
 * `EventSource` takes no headers and does not say when it last heard anything.
 *
 * After a break it asks again with the id of the last event, so that nothing is missed and nothing
 * comes twice; it waits longer each time, up to a bound.
 */

export interface StreamEvent {
  id: string;
  kind: string;
  data: string;
}

export const BACKOFF_MS_MIN = 250;
export const BACKOFF_MS_MAX = 8_000;
const LINE_CHARACTERS_MAX = 4 << 20;

/** Splits text that arrives in pieces into events. */
export class Parser {
  #rest = "";
  #kind = "";
  #data: string[] = [];
  /** The id of the last whole event; it outlives a connection. */
  lastId: string;
  retryMs: number | undefined;
  #id: string;

  constructor(lastId = "") {
    this.lastId = lastId;
    this.#id = lastId;
  }

  resumeWith(id: string | undefined): void {
    if (id !== undefined) this.lastId = this.#id = id;
  }

  take(text: string): StreamEvent[] {
    this.#rest += text;
    if (this.#rest.length > LINE_CHARACTERS_MAX) throw new Error("an event without end");
    const found: StreamEvent[] = [];
    for (;;) {
      const line = this.#line();
      if (line === undefined) return found;
      const event = this.#read(line);
      if (event) found.push(event);
    }
  }

  #line(): string | undefined {
    const end = /\r\n|\n|\r/.exec(this.#rest);
    // A carriage return at the very end may be half of a CRLF.
    if (!end || (end[0] === "\r" && end.index === this.#rest.length - 1)) return undefined;
    const line = this.#rest.slice(0, end.index);
    this.#rest = this.#rest.slice(end.index + end[0].length);
    return line;
  }

  #read(line: string): StreamEvent | undefined {
    if (line === "") return this.#finish();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "event") this.#kind = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }

  #finish(): StreamEvent | undefined {
    const [kind, data] = [this.#kind || "message", this.#data];
    this.#kind = "";
    this.#data = [];
    this.lastId = this.#id;
    return data.length ? { id: this.#id, kind, data: data.join("\n") } : undefined;
  }
}

/** How long to wait before connection `attempt` (0 is the first after a break), jittered. */
export function backoffMs(attempt: number, jitter: number): number {
  const whole = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(attempt, 16));
  return Math.round(whole * (0.5 + jitter / 2));
}

export interface Listener {
  /** Bytes came: the node is there, even where it has nothing to say. */
  heard(): void;
  /** Answers an id to resume with in place of the event's own, or nothing. */
  event(event: StreamEvent): string | undefined;
  lost(reason: string): void;
}

type Fetch = (path: string, init: RequestInit) => Promise<Response>;

/** Follows `path` until `signal` ends it. */
export async function follow(
  path: string,
  listener: Listener,
  signal: AbortSignal,
  get: Fetch = (...given) => fetch(...given),
  pause: (ms: number, signal: AbortSignal) => Promise<void> = sleep,
): Promise<void> {
  let lastId = "";
  let attempt = 0;
  while (!signal.aborted) {
    const parser = new Parser(lastId);
    let reason = "the stream ended";
    try {
      const headers: Record<string, string> = { accept: "text/event-stream" };
      if (lastId !== "") headers["last-event-id"] = lastId;
      const answer = await get(path, { headers, signal, cache: "no-store" });
      parser.retryMs = 1000 * Number(answer.headers.get("retry-after") ?? 0) || undefined;
      if (!answer.ok || !answer.body) throw new Error(`HTTP ${answer.status}`);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        attempt = 0;
        listener.heard();
        for (const event of parser.take(value)) parser.resumeWith(listener.event(event));
      }
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    lastId = parser.lastId;
    if (signal.aborted) return;
    listener.lost(reason);
    await pause(Math.max(parser.retryMs ?? 0, backoffMs(attempt, Math.random())), signal);
    attempt += 1;
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
