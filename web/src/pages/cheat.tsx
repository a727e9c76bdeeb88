/** Attack the own mesh: each attempt, and what refused it. */
import { useState } from "react";
import { type Problem, asProblem, write } from "../api/client.ts";
import { useRead } from "../api/resource.ts";
import type { Page as PageOf, Schemas } from "../api/types.ts";
import { Empty, Loaded, NoPermission, ProblemNote } from "../components/feedback.tsx";
import { Field, useMayWrite, WriteButton } from "../components/form.tsx";
import { Page } from "../components/page.tsx";
import { State } from "../components/state.tsx";
import { Fact, Facts } from "../components/text.tsx";
import { duration } from "../format.ts";
import { link } from "../route.ts";

type Attempt = Schemas["AttemptView"];
type AttemptResult = Schemas["AttemptResult"];

interface Outcome {
  result?: AttemptResult;
  problem?: Problem;
}

export function CheatPage() {
  const may = useMayWrite();
  const attempts = useRead<PageOf<Attempt>>(may ? "/v1/attempts" : null);
  const [outcomes, setOutcomes] = useState<Record<string, Outcome>>({});
  const [running, setRunning] = useState<string | null>(null);
  const attempt = async (name: string, content?: string): Promise<void> => {
    setRunning(name);
    try {
      const result = await write<AttemptResult>("POST", `/v1/attempts/${name}`, content === undefined ? {} : { content });
      setOutcomes((known) => ({ ...known, [name]: { result } }));
    } catch (error) {
      setOutcomes((known) => ({ ...known, [name]: { problem: asProblem(error) } }));
    } finally {
      setRunning(null);
    }
  };
  const all = async (names: readonly string[]): Promise<void> => {
    for (const name of names) await attempt(name);
  };
  const possible = (attempts.data?.items ?? []).filter((each) => !each.unavailable).map((each) => each.name);
  return (
    <Page
      title="Try to cheat"
      subtitle="Attack your own mesh. Each attempt is real, and each should be refused."
      subject={{ noun: "attempts" }}
      actions={
        attempts.data && (
          <WriteButton kind="primary" busy={running !== null} onClick={() => void all(possible)}>
            Try all of them
          </WriteButton>
        )
      }
    >
      <Summary outcomes={outcomes} />
      {!may && <NoPermission title="Only the owner may attack">Each attempt is real, so it is for whoever has the node's token.</NoPermission>}
      {may && <Loaded of={attempts} what="the attempts">
        {({ items }) =>
          items.length === 0 ? (
            <Empty icon="cheat" title="This node knows no attempts" />
          ) : (
            <div className="stack">
              {items.map((each) => (
                <AttemptCard
                  key={each.name}
                  attempt={each}
                  outcome={outcomes[each.name]}
                  busy={running === each.name}
                  blocked={running !== null}
                  onTry={(edited) => void attempt(each.name, edited)}
                />
              ))}
            </div>
          )
        }
      </Loaded>}
    </Page>
  );
}

function Summary({ outcomes }: { outcomes: Record<string, Outcome> }) {
  const results = Object.values(outcomes).flatMap((each) => each.result ?? []);
  if (results.length === 0) return null;
  const through = results.filter((each) => !each.refused).length;
  return (
    <p role="status" className={`card health ${through ? "failing" : "ok"}`}>
      <State tone={through ? "bad" : "good"}>{through ? `${through} got through` : `${results.length} of ${results.length} refused`}</State>
    </p>
  );
}

interface AttemptCardProps {
  attempt: Attempt;
  outcome: Outcome | undefined;
  busy: boolean;
  blocked: boolean;
  onTry: (edited?: string) => void;
}

function AttemptCard({ attempt, outcome, busy, blocked, onTry }: AttemptCardProps) {
  const [edited, setEdited] = useState(attempt.content);
  const right = /^([0-9a-f]{2})*$/.test(edited);
  const changed = edited !== attempt.content;
  return (
    <article className="card stack">
      <div className="row spread">
        <h2>{attempt.title}</h2>
        <WriteButton busy={busy} disabled={blocked || !right || attempt.unavailable !== ""} onClick={() => onTry(changed ? edited : undefined)}>
          Try it <span className="hidden">{attempt.title}</span>
        </WriteButton>
      </div>
      <p className="sentence">{attempt.what}</p>
      <p className="muted">The rule against it: {attempt.rule}</p>
      {attempt.unavailable && (
        <p className="row">
          <State tone="idle">not here</State> {attempt.unavailable}
        </p>
      )}
      {attempt.content && (
        <details>
          <summary>Edit the bytes</summary>
          <Field label={`Bytes of “${attempt.title}”, as hex`} wrong={right ? null : "Pairs of hex digits"}>
            {(attributes) => <textarea {...attributes} spellCheck={false} value={edited} onChange={(event) => setEdited(event.target.value.trim())} />}
          </Field>
        </details>
      )}
      <div role="status">
        {outcome?.problem && <ProblemNote problem={outcome.problem} />}
        {outcome?.result && <Verdict result={outcome.result} />}
      </div>
    </article>
  );
}

function Verdict({ result }: { result: AttemptResult }) {
  return (
    <div className="stack">
      <p>
        <State tone={result.refused ? "good" : "bad"}>{result.refused ? "refused" : "it got through"}</State>
      </p>
      <Facts>
        <Fact name="Done and seen">{result.facts}</Fact>
        <Fact name="Reason">{result.reason}</Fact>
        <Fact name="Rule">{result.rule}</Fact>
        {result.code && (
          <Fact name="Code">
            <span className="mono">{result.code}</span>
          </Fact>
        )}
        <Fact name="Took">
          {duration(result.took_ms)}
          {result.edited && ", with your bytes"}
        </Fact>
        {result.height !== null && (
          <Fact name="Block">
            <a href={link(`/blocks/${result.height}`)}>{result.height}</a>
          </Fact>
        )}
      </Facts>
    </div>
  );
}
