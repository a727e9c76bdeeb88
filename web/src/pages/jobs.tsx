/** Programs run in the pool, and a form to run one. */
import { useState } from "react";
import { write } from "../api/client.ts";
import { touch, usePages } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Empty, Loaded, NoPermission } from "../components/feedback.tsx";
import { Field, Select, submitting, useMayWrite, useWrite, WriteButton, WriteProblem } from "../components/form.tsx";
import { Card, Page } from "../components/page.tsx";
import { StateOf } from "../components/state.tsx";
import { More, Table } from "../components/table.tsx";
import { Ago, Command, Id } from "../components/text.tsx";
import { bytes, caes, duration, parseBytes, sum, units } from "../format.ts";
import { amend, go, link, usePlace } from "../route.ts";

const STATES = ["queued", "leasing", "running", "settling", "done", "failed", "cancelled", "lost"];

export function JobsPage() {
  const { query } = usePlace();
  const may = useMayWrite();
  const running = query.get("new") !== null;
  return (
    <Page
      title="Jobs"
      subtitle="Programs in other machines' sandboxes"
      subject={{ noun: "jobs" }}
      actions={
        <WriteButton kind="primary" onClick={() => amend({ new: running ? undefined : "1" })}>
          {running ? "Close the form" : "Run a job…"}
        </WriteButton>
      }
    >
      {may && running && <RunForm />}
      {may ? (
        <JobList />
      ) : (
        <NoPermission title="Jobs are yours alone">
          What they print may be private, so the node shows them only to whoever has its token.
        </NoPermission>
      )}
    </Page>
  );
}

function JobList() {
  const { query } = usePlace();
  const state = query.get("state") ?? "";
  const pages = Number(query.get("pages") ?? 1);
  const jobs = usePages<Schemas["JobSummary"]>("/v1/jobs", pages, {
    topics: ["job"],
    query: { state: state || undefined, limit: 50 },
  });
  return (
    <>
      <search className="filters">
        <Select
          label="State"
          value={state}
          options={[["", "All"], ...STATES.map((each) => [each, each] as const)]}
          onChange={(chosen) => amend({ state: chosen, pages: undefined })}
        />
      </search>
      <Loaded of={jobs} what="the jobs">
        {({ items, more }) =>
          items.length === 0 ? (
            <Empty icon="jobs" title={state ? `No job is ${state}` : "No job yet"}>
              <p>Run one here, or from a shell:</p>
              <Command>hm job run primes.py --cpu 1</Command>
            </Empty>
          ) : (
            <>
              <Table
                caption="Jobs"
                rows={items}
                rowKey={(job) => job.job}
                columns={[
                  { title: "Job", cell: (job) => <Id of={job.job} what="the job" href={link(`/jobs/${job.job}`)} /> },
                  { title: "State", cell: (job) => <StateOf state={job.state} /> },
                  { title: "Engine", cell: (job) => job.engine },
                  { title: "On", cell: (job) => job.provider_name ?? "not chosen yet" },
                  { title: "CPU", cell: (job) => units(job.limits.cpu_millicores, "cpu"), number: true },
                  { title: "Ran", cell: (job) => (job.wall_ms ? duration(job.wall_ms) : "not yet"), number: true },
                  { title: "Printed", cell: (job) => bytes(job.stdout_bytes + job.stderr_bytes), number: true },
                  { title: "CAES", cell: (job) => (job.paid === null ? "not settled" : caes(sum(job.paid, job.fee))), number: true },
                  { title: "Submitted", cell: (job) => <Ago ms={job.submitted_ms} /> },
                ]}
              />
              <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
            </>
          )
        }
      </Loaded>
    </>
  );
}

const EXAMPLE = `import sys

limit = int(sys.argv[1]) if len(sys.argv) > 1 else 100
print([n for n in range(2, limit) if all(n % d for d in range(2, int(n**0.5) + 1))])
`;

function hexOf(content: Uint8Array): string {
  return Array.from(content, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function RunForm() {
  const [text, setText] = useState(EXAMPLE);
  const [file, setFile] = useState<{ name: string; content: Uint8Array } | null>(null);
  const [words, setWords] = useState("");
  const [stdin, setStdin] = useState("");
  const [cpu, setCpu] = useState("0.2");
  const [memory, setMemory] = useState("256MiB");
  const [seconds, setSeconds] = useState("30");
  const { busy, problem, run } = useWrite();
  const cpu_millicores = Math.round(Number(cpu) * 1000);
  const memory_bytes = parseBytes(memory);
  const wall_ms = Math.round(Number(seconds) * 1000);
  const rightCpu = cpu_millicores >= 1;
  const rightTime = wall_ms >= 1 && wall_ms <= 86_400_000;
  const program = file?.content ?? new TextEncoder().encode(text);
  const submit = (): Promise<void> =>
    run(async () => {
      const job = await write<Schemas["JobView"]>(
        "POST",
        "/v1/jobs",
        {
          engine: file?.name.endsWith(".wasm") ? "wasm" : "python",
          program: hexOf(program),
          arguments: words.split(/\s+/).filter(Boolean),
          stdin: hexOf(new TextEncoder().encode(stdin)),
          cpu_millicores,
          memory_bytes: memory_bytes ?? 0,
          wall_ms,
        } satisfies Partial<Schemas["JobSubmit"]>,
        { wait: false },
      );
      touch("job");
      go(`/jobs/${job.job}`);
    });
  const choose = async (chosen: File | undefined): Promise<void> =>
    setFile(chosen ? { name: chosen.name, content: new Uint8Array(await chosen.arrayBuffer()) } : null);
  return (
    <Card title="Run a job">
      <form className="stack" onSubmit={submitting(() => void submit())}>
        {file ? (
          <p>
            {file.name}, {bytes(file.content.length)}
          </p>
        ) : (
          <Field label="Python program">
            {(attributes) => <textarea {...attributes} spellCheck={false} value={text} onChange={(event) => setText(event.target.value)} />}
          </Field>
        )}
        <Field label="Or a file" hint=".py or .wasm">
          {(attributes) => <input {...attributes} type="file" accept=".py,.wasm" onChange={(event) => void choose(event.target.files?.[0])} />}
        </Field>
        <div className="form-grid">
          <Field label="Arguments" hint="separated by spaces">
            {(attributes) => <input {...attributes} value={words} onChange={(event) => setWords(event.target.value)} />}
          </Field>
          <Field label="Cores" wrong={rightCpu ? null : "More than zero"}>
            {(attributes) => <input {...attributes} inputMode="decimal" value={cpu} onChange={(event) => setCpu(event.target.value)} />}
          </Field>
          <Field label="Memory" wrong={memory_bytes ? null : "Say, 256MiB"}>
            {(attributes) => <input {...attributes} value={memory} onChange={(event) => setMemory(event.target.value)} />}
          </Field>
          <Field label="Seconds at most" wrong={rightTime ? null : "Up to a day"}>
            {(attributes) => <input {...attributes} inputMode="decimal" value={seconds} onChange={(event) => setSeconds(event.target.value)} />}
          </Field>
        </div>
        <Field label="Standard input">
          {(attributes) => <input {...attributes} value={stdin} onChange={(event) => setStdin(event.target.value)} />}
        </Field>
        <WriteProblem problem={problem} />
        <div className="row">
          <WriteButton type="submit" kind="primary" busy={busy} disabled={!rightCpu || !memory_bytes || !rightTime || program.length === 0}>
            Run
          </WriteButton>
        </div>
      </form>
    </Card>
  );
}
