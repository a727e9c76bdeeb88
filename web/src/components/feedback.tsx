/** What stands in place of content: loading, nothing, a problem, no permission. */
import type { ReactNode } from "react";
import type { Problem } from "../api/client.ts";
import type { Reading } from "../api/resource.ts";
import { clockTime } from "../format.ts";
import { Icon, type IconName } from "./icon.tsx";
import { Command } from "./text.tsx";

export function Loading({ what }: { what: string }) {
  return (
    <div className="loading card" role="status">
      <p className="hidden">Loading {what}</p>
      <span />
      <span />
      <span />
    </div>
  );
}

/** What the node shows to whoever has its token alone. */
export function NoPermission({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Empty icon="lock" title={title}>
      <p>{children}</p>
      <Command>hm ui</Command>
    </Empty>
  );
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <Icon name={icon} />
      <p className="title">{title}</p>
      {children}
    </div>
  );
}

/** What went wrong, why, and what to do. */
export function ProblemNote({ problem, retry }: { problem: Problem; retry?: () => void }) {
  const { title, detail, cause, fix, code, failures } = problem.details;
  return (
    <div className="problem" role="alert">
      <p className="what">
        <Icon name="bad" /> {detail || title}
      </p>
      {cause && <p>Why: {cause}</p>}
      {failures && failures.length > 0 && <p>Refused: {failures.join("; ")}</p>}
      {fix && (/^`?hm /.test(fix) ? <Command>{fix.replaceAll("`", "")}</Command> : <p>What to do: {fix}</p>)}
      <div className="row">
        {code && <small>{code}</small>}
        {retry && (
          <button type="button" className="button small" onClick={retry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

interface LoadedProps<T> {
  of: Reading<T>;
  what: string;
  children: (data: T) => ReactNode;
}

/** The content of a reading, or what stands in its place. Content that could not be read anew stays,
 * with the time that it is from. */
export function Loaded<T>({ of, what, children }: LoadedProps<T>) {
  if (of.data === undefined) {
    if (of.problem) return <ProblemNote problem={of.problem} retry={of.refresh} />;
    return <Loading what={what} />;
  }
  return (
    <>
      {of.problem && (
        <div className="problem" role="alert">
          <p className="what">
            <Icon name="warn" /> Not current: {what} as of {of.asOf ? clockTime(of.asOf) : "before"}
          </p>
          <p>{of.problem.details.detail}</p>
          <button type="button" className="button small" onClick={of.refresh}>
            Try again
          </button>
        </div>
      )}
      {children(of.data)}
    </>
  );
}
