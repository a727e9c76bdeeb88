/** What every page has: a heading that takes the focus on arrival, and how to get it elsewhere. */
import { type ReactNode, useEffect, useRef, useState } from "react";
import { type Subject, snippets } from "../snippets.ts";
import { Dialog } from "./dialog.tsx";
import { Icon } from "./icon.tsx";
import { Command } from "./text.tsx";

interface PageProps {
  title: string;
  subtitle?: ReactNode;
  subject?: Subject;
  actions?: ReactNode;
  children: ReactNode;
}

let arrived = false;

export function Page({ title, subtitle, subject, actions, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · HyperMesh`;
  }, [title]);
  useEffect(() => {
    // Not on the first page: there the skip link comes first.
    if (arrived) heading.current?.focus();
    arrived = true;
  }, []);
  return (
    <div className="page">
      <header className="page-head">
        <div>
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {subtitle && <p>{subtitle}</p>}
        </div>
        <div className="row">
          {actions}
          {subject && <Elsewhere subject={subject} />}
        </div>
      </header>
      {children}
    </div>
  );
}

function Elsewhere({ subject }: { subject: Subject }) {
  const [open, setOpen] = useState(false);
  const found = snippets(subject, location.origin);
  return (
    <>
      <button type="button" className="button" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        <Icon name="code" />
        Copy as…
      </button>
      {open && (
        <Dialog title="The same, elsewhere" onClose={() => setOpen(false)}>
          <div className="stack">
            <h3>Command line</h3>
            <Command what="the command">{found.cli}</Command>
            <h3>curl</h3>
            <Command what="the curl command">{found.curl}</Command>
            <h3>Python</h3>
            <Command what="the Python program">{found.python}</Command>
          </div>
        </Dialog>
      )}
    </>
  );
}

export function Section({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  return (
    <section className="section">
      <header>
        <h2>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

export function Card({ title, aside, children }: { title?: string; aside?: ReactNode; children: ReactNode }) {
  return (
    <section className="card">
      {title && (
        <header>
          <h2>{title}</h2>
          {aside}
        </header>
      )}
      {children}
    </section>
  );
}
