/** Identifiers, times and commands as text that can be copied. */
import { type ReactNode, useState } from "react";
import { ago, clockTime, moment, short } from "../format.ts";
import { clock, useStore } from "../store.ts";
import { announce } from "./toast.tsx";
import { Icon } from "./icon.tsx";

async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    announce(`${what} is copied`);
  } catch {
    announce(`The browser does not let this page copy; ${what} is: ${text}`);
  }
}

export function Copy({ text, what }: { text: string; what: string }) {
  return (
    <button type="button" className="button plain small" onClick={() => void copy(text, what)}>
      <Icon name="copy" />
      <span className="hidden">Copy {what}</span>
    </button>
  );
}

/** An identifier: short where there is a link or little room, whole to the clipboard. */
export function Id({ of, what, whole = false, href }: { of: string; what: string; whole?: boolean; href?: string }) {
  const shown = <span className="mono">{whole ? of : short(of)}</span>;
  return (
    <span className="id" title={of}>
      {href ? <a href={href}>{shown}</a> : shown}
      {!href && <Copy text={of} what={what} />}
    </span>
  );
}

export function Ago({ ms }: { ms: number }) {
  const now = useStore(clock);
  return (
    <time dateTime={new Date(ms).toISOString()} title={moment(ms)}>
      {ago(ms, now)}
    </time>
  );
}

export function Moment({ ms }: { ms: number }) {
  return <time dateTime={new Date(ms).toISOString()}>{moment(ms)}</time>;
}

export function AsOf({ ms }: { ms: number | undefined }) {
  return ms === undefined ? null : <small className="as-of">as of {clockTime(ms)}</small>;
}

/** A line to paste into a shell. */
export function Command({ children, what = "the command" }: { children: string; what?: string }) {
  return (
    <div className="command">
      <pre>{children}</pre>
      <Copy text={children} what={what} />
    </div>
  );
}

export function Facts({ children }: { children: ReactNode }) {
  return <dl className="facts">{children}</dl>;
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

/** Long text that is shown when asked for. */
export function Json({ value, what }: { value: unknown; what: string }) {
  const text = JSON.stringify(value, (_, each) => (typeof each === "bigint" ? Number(each) : each), 2);
  const [wrap, setWrap] = useState(true);
  return (
    <div className="stack">
      <div className="row spread">
        <label className="check">
          <input type="checkbox" checked={wrap} onChange={() => setWrap(!wrap)} />
          Wrap lines
        </label>
        <Copy text={text} what={what} />
      </div>
      <pre className={wrap ? "log" : "log unwrapped"} tabIndex={0} role="region" aria-label={what}>
        {text}
      </pre>
    </div>
  );
}
