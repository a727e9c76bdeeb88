/** The first five minutes as a list that ticks itself. */
import { type ReactNode, useState } from "react";
import { write } from "../api/client.ts";
import { usePages, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { useMayWrite, useWrite, WriteButton, WriteProblem } from "../components/form.tsx";
import { Icon } from "../components/icon.tsx";
import { Card, Page } from "../components/page.tsx";
import { State } from "../components/state.tsx";
import { Command, Moment } from "../components/text.tsx";
import { link } from "../route.ts";

export function FirstRunPage() {
  const may = useMayWrite();
  const status = useRead<Schemas["StatusView"]>("/v1/network", { topics: ["block"] });
  const nodes = usePages<Schemas["NodeView"]>("/v1/nodes", 1, { topics: ["node"], query: { limit: 50 } });
  const leases = usePages<Schemas["LeaseView"]>("/v1/leases", 1, { topics: ["lease"], query: { limit: 200 } });
  const jobs = useRead<{ items: Schemas["JobSummary"][] }>(may ? "/v1/jobs" : null, { topics: ["job"], query: { limit: 20 } });
  const owner = status.data?.owner;
  const borrowed = (leases.data?.items ?? []).filter((each) => each.consumer === owner);
  const isUp = nodes.data?.items.some((each) => each.here && each.attested) ?? false;
  const hasOthers = (nodes.data?.items.length ?? 0) > 1;
  const ran = jobs.data?.items.some((each) => each.state === "done") ?? borrowed.some((each) => each.kind === "cpu" && each.paid !== null);
  const held = borrowed.some((each) => each.kind === "memory");
  const settled = borrowed.find((each) => each.paid !== null);
  const steps = [isUp, hasOthers, ran, held, settled !== undefined].filter(Boolean).length;
  return (
    <Page title="First run" subtitle={`${steps} of 5 done; what is done ticks itself`}>
      <Card>
        <ol className="checklist">
          <Step done={isUp} title="This node is up, and its four proofs are in force">
            <p className="muted">
              <code>hm up</code> started it. The first proofs take a few seconds; until then nothing can be leased from here.
            </p>
          </Step>
          <Step done={hasOthers} title="Another machine has joined">
            <Invite />
          </Step>
          <Step done={ran} title="A program ran in the pool">
            <p>
              <a href={link("/jobs", { new: "1" })}>Run one here</a>, or from a shell:
            </p>
            <Command>hm job run primes.py --cpu 1</Command>
          </Step>
          <Step done={held} title="Memory of another machine was used">
            <p>
              <a href={link("/assets", { kind: "memory" })}>Lease some here</a>, or put a file into it:
            </p>
            <Command>hm memory put ADDRESS FILE</Command>
          </Step>
          <Step done={settled !== undefined} title="Something was paid, and can be explained">
            <Command>{`hm explain ${settled?.lease ?? "RECEIPT"}`}</Command>
          </Step>
        </ol>
      </Card>
    </Page>
  );
}

function Step({ done, title, children }: { done: boolean; title: string; children: ReactNode }) {
  return (
    <li className={done ? "ticked" : ""}>
      <Icon name={done ? "ok" : "circle"} />
      <div className="stack">
        <div className="row">
          <h2>{title}</h2>
          <State tone={done ? "good" : "idle"}>{done ? "done" : "to do"}</State>
        </div>
        {children}
      </div>
    </li>
  );
}

function Invite() {
  const [mine, setMine] = useState(true);
  const [invitation, setInvitation] = useState<Schemas["InvitationView"] | null>(null);
  const { busy, problem, run } = useWrite();
  const invite = (): Promise<void> => run(async () => setInvitation(await write("POST", "/v1/network/invitations", { mine })));
  return (
    <>
      <div className="row">
        <label className="check">
          <input type="checkbox" checked={mine} onChange={(event) => setMine(event.target.checked)} />
          It is mine too: same owner, same purse
        </label>
        <WriteButton busy={busy} onClick={() => void invite()}>
          Make an invitation
        </WriteButton>
      </div>
      <WriteProblem problem={problem} />
      {invitation ? (
        <>
          <p>
            On the other machine, before <Moment ms={invitation.expires_ms} />. It is good once, and whoever has it can join:
          </p>
          <Command what="the command with the invitation">{`hm join ${invitation.token}`}</Command>
        </>
      ) : (
        <Command>{mine ? "hm invite --mine" : "hm invite"}</Command>
      )}
    </>
  );
}
