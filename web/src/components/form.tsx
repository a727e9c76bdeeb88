/** Buttons that write, and fields. */
import { type FormEvent, type ReactNode, useId, useState } from "react";
import { asProblem, type Problem } from "../api/client.ts";
import { token } from "../session.ts";
import { useStore } from "../store.ts";
import { ProblemNote } from "./feedback.tsx";

export function useMayWrite(): boolean {
  return useStore(token) !== null;
}

interface WriteButtonProps {
  children: ReactNode;
  onClick?: () => void;
  kind?: "primary" | "danger" | "small" | "";
  type?: "button" | "submit";
  busy?: boolean;
  disabled?: boolean;
}

/** A button that changes something: without a session token it is off and says why. */
export function WriteButton({ children, onClick, kind = "", type = "button", busy = false, disabled = false }: WriteButtonProps) {
  const may = useMayWrite();
  return (
    <button
      type={type}
      className={`button ${kind}`}
      disabled={!may || busy || disabled}
      aria-busy={busy}
      title={may ? undefined : "Read-only: open this page with `hm ui`"}
      onClick={onClick}
    >
      {busy ? "Working…" : children}
    </button>
  );
}

/** A write in progress, with the problem that it met. */
export function useWrite(): {
  busy: boolean;
  problem: Problem | null;
  run: (act: () => Promise<void>) => Promise<void>;
  clear: () => void;
} {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async (act: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setProblem(null);
    try {
      await act();
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };
  return { busy, problem, run, clear: () => setProblem(null) };
}

export function WriteProblem({ problem }: { problem: Problem | null }) {
  return problem && <ProblemNote problem={problem} />;
}

interface FieldProps {
  label: string;
  hint?: ReactNode;
  wrong?: string | null;
  children: (attributes: { id: string; "aria-describedby": string; "aria-invalid": boolean }) => ReactNode;
}

export function Field({ label, hint, wrong, children }: FieldProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, "aria-describedby": `${id}-hint`, "aria-invalid": !!wrong })}
      <small id={`${id}-hint`} className={wrong ? "wrong" : undefined}>
        {wrong || hint}
      </small>
    </div>
  );
}

interface SelectProps {
  label: string;
  value: string;
  options: readonly (readonly [string, string])[];
  onChange: (value: string) => void;
}

export function Select({ label, value, options, onChange }: SelectProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)}>
        {options.map(([each, words]) => (
          <option key={each} value={each}>
            {words}
          </option>
        ))}
      </select>
    </div>
  );
}

export function submitting(act: () => void): (event: FormEvent) => void {
  return (event) => {
    event.preventDefault();
    act();
  };
}
