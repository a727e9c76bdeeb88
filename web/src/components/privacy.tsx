/** Who may see and lease an asset and on what terms, with what a change would do before it is made. */
import { useEffect, useId, useState } from "react";
import { asProblem, type Problem, write } from "../api/client.ts";
import { touch, usePages, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { plural } from "../format.ts";
import { type Change, changeOf, type Draft, draftOf, unitOf } from "../privacy.ts";
import { NoPermission } from "./feedback.tsx";
import { Field, useMayWrite, useWrite, WriteButton, WriteProblem } from "./form.tsx";
import { State } from "./state.tsx";
import { Table } from "./table.tsx";
import { announce } from "./toast.tsx";

type Terms = Schemas["PrivacyView"];
type Preview = Schemas["PrivacyPreview"];

const LEVELS: readonly (readonly [Terms["level"], string, string])[] = [
  ["private", "Private", "Only your own nodes. No bonus."],
  ["private_network", "Private network", "Nodes of named networks whose root you trust. A quarter of the bonus."],
  ["p2p", "P2P", "Nodes that you name. Half of the bonus."],
  ["public_network", "Public network", "Nodes of networks that you name. Three quarters of the bonus."],
  ["full_public", "Full public", "Anyone. The whole bonus."],
];

/** How long the fields are still before the node is asked what they would do. */
const PAUSE_MS = 350;

export function PrivacyEditor({ terms }: { terms: Terms }) {
  const [draft, setDraft] = useState(() => draftOf(terms));
  const { busy, problem, run } = useWrite();
  const set = (values: Partial<Draft>): void => setDraft({ ...draft, ...values });
  const { change, wrong } = changeOf(draft, terms);
  const isChanged = Object.keys(change).length > 0;
  const isWrong = Object.keys(wrong).length > 0;
  const apply = (): Promise<void> =>
    run(async () => {
      await write("PUT", "/privacy/level", { asset: terms.asset, ...change });
      announce("The new terms are in force");
      touch("privacy");
    });
  const kept = draft.level === "p2p" || draft.level === "private";
  return (
    <div className="columns">
      <form className="card stack" aria-label="Terms" onSubmit={(event) => event.preventDefault()}>
        <fieldset>
          <legend>Who may see and lease it</legend>
          {LEVELS.map(([level, title, words]) => (
            <label key={level} className="choice">
              <input type="radio" name="level" value={level} checked={draft.level === level} onChange={() => set({ level })} />
              <strong>{title}</strong>
              <small>{words}</small>
            </label>
          ))}
        </fieldset>
        {draft.level === "p2p" && <NodeChoice chosen={draft.nodes} onChange={(nodes) => set({ nodes })} />}
        {!kept && draft.level !== "full_public" && <NetworkChoice draft={draft} wrong={wrong.networks} onChange={(networks) => set({ networks })} />}
        <div className="form-grid">
          <Text label="Lent at most, %" value={draft.share} wrong={wrong.share} hint="of its capacity" onChange={(share) => set({ share })} />
          <Text label="Leases at a time" value={draft.concurrent} wrong={wrong.concurrent} hint="at most" onChange={(concurrent) => set({ concurrent })} />
          <Text label="Shortest lease, seconds" value={draft.shortest} wrong={wrong.shortest} onChange={(shortest) => set({ shortest })} />
          <Text label="Longest lease, minutes" value={draft.longest} wrong={wrong.longest} onChange={(longest) => set({ longest })} />
          <Text label="Price, CAES" value={draft.price} wrong={wrong.price} hint={`for each ${unitOf(terms.kind).words}`} onChange={(price) => set({ price })} />
          <Text label="Bond of a consumer's node, CAES" value={draft.bond} wrong={wrong.bond} hint="at least" onChange={(bond) => set({ bond })} />
          <Text label="Region" value={draft.region} hint="for people, such as eu-west" onChange={(region) => set({ region })} />
        </div>
        <fieldset>
          <legend>What a consumer must show</legend>
          <label className="check">
            <input type="checkbox" checked={draft.verified} onChange={(event) => set({ verified: event.target.checked })} />
            A certificate of the network (not an account alone)
          </label>
          <label className="check">
            <input type="checkbox" checked={draft.attested} onChange={(event) => set({ attested: event.target.checked })} />
            Four proofs in force on its node
          </label>
        </fieldset>
        <WriteProblem problem={problem} />
        <div className="row">
          <WriteButton kind="primary" busy={busy} disabled={!isChanged || isWrong} onClick={() => void apply()}>
            Apply the change
          </WriteButton>
          <button type="button" className="button" disabled={!isChanged && !isWrong} onClick={() => setDraft(draftOf(terms))}>
            Undo
          </button>
        </div>
      </form>
      <PreviewCard asset={terms.asset} change={isWrong ? null : change} />
    </div>
  );
}

interface TextProps {
  label: string;
  value: string;
  wrong?: string | undefined;
  hint?: string;
  onChange: (value: string) => void;
}

function Text({ label, value, wrong, hint, onChange }: TextProps) {
  return (
    <Field label={label} hint={hint} wrong={wrong ?? null}>
      {(attributes) => <input {...attributes} value={value} onChange={(event) => onChange(event.target.value)} />}
    </Field>
  );
}

function NodeChoice({ chosen, onChange }: { chosen: readonly string[]; onChange: (nodes: string[]) => void }) {
  const nodes = usePages<Schemas["NodeView"]>("/v1/nodes", 10, { topics: ["node"], query: { limit: 200 } });
  const others = (nodes.data?.items ?? []).filter((each) => !each.mine && !each.revoked);
  return (
    <fieldset>
      <legend>Named nodes</legend>
      {nodes.data && others.length === 0 && <p className="muted">No node of another owner is in this network yet.</p>}
      {others.map((node) => (
        <label key={node.node} className="check">
          <input
            type="checkbox"
            checked={chosen.includes(node.node)}
            onChange={(event) => onChange(event.target.checked ? [...chosen, node.node] : chosen.filter((each) => each !== node.node))}
          />
          {node.name} <span className="mono muted">{node.node.slice(0, 12)}</span>
        </label>
      ))}
    </fieldset>
  );
}

function NetworkChoice({ draft, wrong, onChange }: { draft: Draft; wrong: string | undefined; onChange: (text: string) => void }) {
  const status = useRead<Schemas["StatusView"]>("/v1/network");
  const own = status.data?.genesis;
  return (
    <div className="stack">
      <Field label="Named networks" hint="genesis ids, one on each line" wrong={wrong ?? null}>
        {(attributes) => <textarea {...attributes} rows={3} value={draft.networks} onChange={(event) => onChange(event.target.value)} />}
      </Field>
      {own && !draft.networks.includes(own) && (
        <button type="button" className="button" onClick={() => onChange(`${draft.networks}\n${own}`.trim())}>
          Add this network
        </button>
      )}
    </div>
  );
}

/** What the terms in the fields would mean, asked of the node, which decides it as it would. */
function PreviewCard({ asset, change }: { asset: string; change: Change | null }) {
  const may = useMayWrite();
  const heading = useId();
  const [preview, setPreview] = useState<Preview | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const asked = change === null ? null : JSON.stringify(change);
  useEffect(() => {
    if (asked === null || !may) return;
    let current = true;
    const timer = setTimeout(async () => {
      try {
        const answer = await write<Preview>("PUT", "/privacy/level", { asset, ...(JSON.parse(asked) as Change) }, { preview: true });
        if (current) [setPreview(answer), setProblem(null)];
      } catch (error) {
        if (current) setProblem(asProblem(error));
      }
    }, PAUSE_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [asset, asked, may]);
  if (!may) {
    return (
      <NoPermission title="Who can see and lease this">
        A preview and a change are for whoever has the node's token.
      </NoPermission>
    );
  }
  return (
    <section className="card stack" aria-labelledby={heading} aria-live="polite">
      <h2 id={heading}>Who can see and lease this</h2>
      <WriteProblem problem={problem} />
      {change === null && <p className="muted">A field is not right yet.</p>}
      {!preview && !problem && <p className="muted">Asking the node…</p>}
      {preview && <PreviewBody preview={preview} />}
    </section>
  );
}

function PreviewBody({ preview }: { preview: Preview }) {
  return (
    <>
      {preview.summary.map((line) => (
        <p key={line}>{line}</p>
      ))}
      {preview.blocked.map((line) => (
        <p key={line} className="row">
          <State tone="warn">nobody now</State> {line}
        </p>
      ))}
      {preview.changes.length > 0 ? (
        <Table
          caption="What would change"
          rows={preview.changes}
          rowKey={(each) => each.term}
          columns={[
            { title: "Term", cell: (each) => each.term },
            { title: "Now", cell: (each) => each.before, wide: true },
            { title: "Then", cell: (each) => each.after, wide: true },
          ]}
        />
      ) : (
        <p className="muted">As it is now; change a field to see what that would do.</p>
      )}
      <Table
        caption="Who can"
        rows={preview.requesters}
        rowKey={(each) => each.node}
        columns={[
          { title: "Node", cell: (each) => `${each.name}${each.own ? " (yours)" : ""}` },
          { title: "See", cell: (each) => <Verdict of={each.discover} /> },
          { title: "Lease", cell: (each) => <Verdict of={each.lease} /> },
          { title: "Why", cell: (each) => each.lease.reason, wide: true },
        ]}
      />
      {preview.requesters.length < preview.requesters_total && (
        <p className="muted">
          The first {preview.requesters.length} of {plural(preview.requesters_total, "node")}.
        </p>
      )}
    </>
  );
}

function Verdict({ of }: { of: Schemas["VerdictView"] }) {
  const word = of.allowed ? "yes" : "no";
  return <State tone={of.allowed ? "good" : "bad"}>{of.allowed === of.was ? word : `${word} (now ${of.was ? "yes" : "no"})`}</State>;
}

