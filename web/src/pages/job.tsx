/** One job: what it prints, how long each stage took, how it was held, and what it cost. */
import { type ReactNode, useEffect, useRef } from "react";
import { write } from "../api/client.ts";
import { touch, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Loaded, NoPermission, ProblemNote } from "../components/feedback.tsx";
import { Field, useMayWrite, useWrite, WriteButton, WriteProblem } from "../components/form.tsx";
import { Card, Page } from "../components/page.tsx";
import { State, StateOf } from "../components/state.tsx";
import { Tabs } from "../components/tabs.tsx";
import { Command, Copy, Fact, Facts, Id, Json, Moment } from "../components/text.tsx";
import { announce } from "../components/toast.tsx";
import { bytes, caes, duration, plural, units, words } from "../format.ts";
import { useOutput } from "../live/output.ts";
import { amend, link, usePlace } from "../route.ts";

type Job = Schemas["JobView"];

const FINAL = new Set(["done", "failed", "cancelled", "lost"]);

const REASONS: Record<string, string> = {
  exited: "ended by itself",
  deadline: "was stopped at its deadline",
  memory: "was stopped: it wanted more memory than its limit",
  killed: "was killed: it flooded its output",
  cancelled: "was cancelled",
  refused: "could not be run",
  provider_lost: "its provider went away",
  node_down: "this node went down in the middle",
};

export function JobPage({ id }: { id: string }) {
  const may = useMayWrite();
  return (
    <Page title={`Job ${id.slice(0, 8)}`} subtitle={<Id of={id} what="the job's id" whole />} subject={{ noun: "job", id }}>
      {may ? (
        <JobBody key={id} id={id} />
      ) : (
        <NoPermission title="Jobs are yours alone">
          What it prints may be private, so the node shows it only to whoever has its token.
        </NoPermission>
      )}
    </Page>
  );
}

function JobBody({ id }: { id: string }) {
  const job = useRead<Job>(`/v1/jobs/${id}`, { topics: ["job", "lease"] });
  return (
    <Loaded of={job} what="the job">
      {(data) => (
        <>
          <div className="row spread">
            <p className="row" role="status">
              <StateOf state={data.state} />
              {data.reason && (
                <span>
                  {REASONS[data.reason] ?? data.reason}
                  {data.exit_code !== null && `, exit code ${data.exit_code}`}
                </span>
              )}
            </p>
            {!FINAL.has(data.state) && <CancelButton job={id} />}
          </div>
          {data.problem && <Refusal job={data} />}
          <Tabs
            label="The job"
            tabs={[
              { name: "overview", label: "Output", content: () => <Log id={id} /> },
              { name: "stages", label: "Stages and cost", content: () => <Stages job={data} /> },
              { name: "json", label: "JSON", content: () => <Json value={data} what="the job as JSON" /> },
            ]}
          />
        </>
      )}
    </Loaded>
  );
}

function Refusal({ job }: { job: Job }) {
  const { problem } = job;
  if (!problem) return null;
  return (
    <div className="problem">
      <p className="what">{problem.detail}</p>
      {problem.cause && <p>Why: {problem.cause}</p>}
      {problem.fix && <p>What to do: {problem.fix}</p>}
      <small>{problem.code}</small>
    </div>
  );
}

function CancelButton({ job }: { job: string }) {
  const { busy, problem, run } = useWrite();
  const cancel = (): Promise<void> =>
    run(async () => {
      await write("DELETE", `/v1/jobs/${job}`);
      announce("The job is being cancelled");
      touch("job");
    });
  return (
    <>
      <WriteButton kind="danger" busy={busy} onClick={() => void cancel()}>
        Cancel the job
      </WriteButton>
      <WriteProblem problem={problem} />
    </>
  );
}

function Log({ id }: { id: string }) {
  const output = useOutput(id);
  const search = usePlace().query.get("find") ?? "";
  const box = useRef<HTMLPreElement>(null);
  const found = search ? output.stdout.toLowerCase().split(search.toLowerCase()).length - 1 : 0;
  useEffect(() => {
    const element = box.current;
    // Follows the end, unless the reader has gone up.
    if (element && element.scrollHeight - element.scrollTop - element.clientHeight < 120) element.scrollTop = element.scrollHeight;
  }, [output.stdout]);
  return (
    <>
      {output.problem && <ProblemNote problem={output.problem} />}
      <div className="filters">
        <Field label="Find in the output" hint={search ? plural(found, "time") : ""}>
          {(attributes) => <input {...attributes} type="search" value={search} onChange={(event) => amend({ find: event.target.value })} />}
        </Field>
        <p className="row">
          <State tone={output.ended ? "idle" : "busy"}>{output.ended ? "complete" : "live"}</State>
          <Copy text={output.stdout} what="the output" />
        </p>
      </div>
      <pre className="log" ref={box} tabIndex={0} role="log" aria-label="Standard output">
        {output.stdout ? marked(output.stdout, search) : <span className="muted">{output.ended ? "It printed nothing." : "Nothing printed yet."}</span>}
      </pre>
      {output.stderr && (
        <>
          <h2>Standard error</h2>
          <pre className="log" tabIndex={0} role="log" aria-label="Standard error">
            {marked(output.stderr, search)}
          </pre>
        </>
      )}
      {output.cut > 0 && <p className="muted">{bytes(output.cut)} beyond the limit were dropped.</p>}
    </>
  );
}

const MARKS_MAX = 2_000;

function marked(text: string, search: string): ReactNode {
  if (!search) return text;
  const parts: ReactNode[] = [];
  const lower = text.toLowerCase();
  const wanted = search.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(wanted); at >= 0 && parts.length < MARKS_MAX; at = lower.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + search.length)}</mark>);
    from = at + search.length;
  }
  return [...parts, text.slice(from)];
}

function Stages({ job }: { job: Job }) {
  const stages = Object.entries(job.timings_ms);
  const whole = stages.reduce((sum, [, ms]) => sum + ms, 0);
  return (
    <div className="columns">
      <Card title="Stages">
        <div className="stack">
          {whole > 0 && (
            <div className="stages" aria-hidden="true">
              {stages.map(([name, ms]) => (
                <span key={name} style={{ flexGrow: ms }} />
              ))}
            </div>
          )}
          <Facts>
            <Fact name="Submitted">
              <Moment ms={job.submitted_ms} />
            </Fact>
            {stages.map(([name, ms]) => (
              <Fact key={name} name={words(name)}>
                {duration(ms)}
              </Fact>
            ))}
            {job.ended_ms !== null && (
              <Fact name="Ended">
                <Moment ms={job.ended_ms} />
              </Fact>
            )}
          </Facts>
        </div>
      </Card>
      <Card title="How it was held">
        <Facts>
          <Fact name="On">{job.provider ? <a href={link(`/nodes/${job.provider}`)}>{job.provider_name ?? job.provider.slice(0, 12)}</a> : "not chosen yet"}</Fact>
          <Fact name="Isolation">{job.isolation || "not known yet"}</Fact>
          {Object.entries(job.enforced).map(([name, by]) => (
            <Fact key={name} name={`${words(name)} limit kept by`}>
              {by}
            </Fact>
          ))}
          <Fact name="CPU">
            {duration(job.cpu_ms)} used; at most {units(job.limits.cpu_millicores, "cpu")}
          </Fact>
          <Fact name="Memory">
            {bytes(job.memory_peak_bytes)} at the most; limit {bytes(job.limits.memory_bytes)}
          </Fact>
          <Fact name="Ran">
            {duration(job.wall_ms)} of {duration(job.limits.wall_ms)}
          </Fact>
        </Facts>
      </Card>
      <Card title="Cost">
        <div className="stack">
          <Facts>
            <Fact name="Paid">{job.paid === null ? "not settled" : `${caes(job.paid)} CAES`}</Fact>
            <Fact name="Fee">{job.fee === null ? "not settled" : `${caes(job.fee)} CAES`}</Fact>
            <Fact name="Receipt">
              {job.receipt ? <Id of={job.receipt} what="the receipt" href={link(`/leases/${job.receipt}`, { tab: "receipt" })} /> : "when it is settled"}
            </Fact>
          </Facts>
          {job.receipt && <Command>{`hm explain ${job.receipt}`}</Command>}
        </div>
      </Card>
    </div>
  );
}
