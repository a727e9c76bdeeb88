/** Requests to the node that serves this page. */
import { leave, token } from "../session.ts";
import type { Schemas } from "./types.ts";

export type Query = Record<string, string | number | boolean | null | undefined>;

const READ_TIMEOUT_MS = 30_000;
/** Longer than any write that the node answers at once: a lease, or a job's settlement. */
const WRITE_TIMEOUT_MS = 120_000;

/** What went wrong, in the three parts that the node gives: what, why, fix. */
export class Problem extends Error {
  readonly details: Schemas["ProblemDetails"];

  constructor(details: Schemas["ProblemDetails"]) {
    super(details.detail);
    this.details = details;
  }
}

export async function read<T>(path: string, query: Query = {}): Promise<T> {
  return ask<T>("GET", withQuery(path, query));
}

/** A write. Each has a key of its own, so that a connection that breaks cannot make it happen twice. */
export async function write<T>(
  method: "POST" | "PUT" | "DELETE",
  path: string,
  body?: object,
  query: Query = {},
): Promise<T> {
  return ask<T>(method, withQuery(path, query), body);
}

export function withQuery(path: string, query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

async function ask<T>(method: string, path: string, body?: object): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  const known = token.get();
  if (known !== null) headers["authorization"] = `Bearer ${known}`;
  if (method !== "GET") headers["idempotency-key"] = crypto.randomUUID();
  if (body !== undefined) headers["content-type"] = "application/json";
  const timeoutMs = method === "GET" ? READ_TIMEOUT_MS : WRITE_TIMEOUT_MS;
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
      cache: "no-store",
    });
  } catch (error) {
    throw unreachable(error, timeoutMs);
  }
  const text = await answer.text();
  if (answer.ok) return exact(text) as T;
  if (answer.status === 401 && known !== null) leave();
  throw new Problem(problemOf(answer, text));
}

/** JSON with integers beyond 2^53 as `bigint`, where the browser tells their digits: amounts are
 * int64. */
export function exact(text: string): unknown {
  if (text === "") return null;
  const revive = (_: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source
      ? BigInt(context.source)
      : value;
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
}

function problemOf(answer: Response, text: string): Schemas["ProblemDetails"] {
  if (answer.headers.get("content-type")?.startsWith("application/problem+json")) {
    return JSON.parse(text) as Schemas["ProblemDetails"];
  }
  return {
    type: "about:blank",
    title: "The node answered with something else",
    status: answer.status,
    detail: `HTTP ${answer.status}`,
    code: "",
    cause: text.slice(0, 200),
    fix: "Look into the node's log",
    exit_code: 1,
    failures: [],
  };
}

function unreachable(error: unknown, timeoutMs: number): Problem {
  const late = error instanceof DOMException && error.name === "TimeoutError";
  return new Problem({
    type: "about:blank",
    title: late ? "The node took too long" : "The node does not answer",
    status: 0,
    detail: late ? `No answer within ${timeoutMs / 1000} s` : "The node of this page does not answer",
    code: "",
    cause: late ? "it is busy, or waits for another node" : "it has stopped, or this machine sleeps",
    fix: "hm status",
    exit_code: 7,
    failures: [],
  });
}

export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : unforeseen(error);
}

function unforeseen(error: unknown): Problem {
  return new Problem({
    type: "about:blank",
    title: "The page itself failed",
    status: 0,
    detail: "The page itself failed",
    code: "",
    cause: String(error),
    fix: "Load the page anew; if it stays, please report it",
    exit_code: 1,
    failures: [],
  });
}
