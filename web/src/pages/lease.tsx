/** One lease: its use now, its life so far, and its receipt. */
import { useState } from "react";
import { read } from "../api/client.ts";
import { useRead } from "../api/resource.ts";
import type { LeaseStep, Schemas } from "../api/types.ts";
import { Loaded } from "../components/feedback.tsx";
import { useWrite, WriteProblem } from "../components/form.tsx";
import { MemoryCharts } from "../components/memory.tsx";
import { Card, Page } from "../components/page.tsx";
import { ReleaseButton } from "../components/release.tsx";
import { Level, StateOf } from "../components/state.tsx";
import { Tabs } from "../components/tabs.tsx";
import { Command, Fact, Facts, Id, Json, Moment } from "../components/text.tsx";
import { download } from "../download.ts";
import { caes, duration, kindName, price, units } from "../format.ts";
import { link } from "../route.ts";

type Lease = Schemas["LeaseView"];

export function LeasePage({ id }: { id: string }) {
  const detail = useRead<Schemas["LeaseDetail"]>(`/v1/leases/${id}`, { topics: ["lease"] });
  const owner = useRead<Schemas["StatusView"]>("/v1/network").data?.owner;
  const lease = detail.data?.lease;
  return (
    <Page
      title={lease ? `Lease of ${units(lease.amount, lease.kind)}` : "Lease"}
      subtitle={<Id of={id} what="the lease's id" whole />}
      subject={{ noun: "lease", id }}
      actions={lease && lease.consumer === owner && <ReleaseButton lease={lease} />}
    >
      <Loaded of={detail} what="the lease">
        {(data) => (
          <>
            <p className="row">
              <StateOf state={data.lease.state} />
              <Level level={data.lease.level} />
            </p>
            <MemoryCharts lease={id} />
            <Tabs
              label="The lease"
              tabs={[
                { name: "overview", label: "Overview", content: () => <Overview lease={data.lease} events={data.events} /> },
                { name: "receipt", label: "Receipt", content: () => <Receipt lease={data.lease} /> },
                { name: "json", label: "JSON", content: () => <Json value={data} what="the lease as JSON" /> },
              ]}
            />
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Overview({ lease, events }: { lease: Lease; events: LeaseStep[] }) {
  return (
    <div className="columns">
      <Card title="Terms">
        <Facts>
          <Fact name="Asset">
            <a href={link(`/assets/${lease.asset}`)}>
              {kindName(lease.kind)} of {lease.provider_name || lease.provider.slice(0, 12)}
            </a>
          </Fact>
          <Fact name="Consumer">
            {lease.consumer_name} <Id of={lease.consumer} what="the consumer's id" />
          </Fact>
          <Fact name="Amount">{units(lease.amount, lease.kind)}</Fact>
          {lease.price && <Fact name="Price">{price(lease.price, lease.kind)}</Fact>}
          <Fact name="For at most">{duration(lease.duration_ms)}</Fact>
          {lease.start_ms > 0 && (
            <Fact name="Began">
              <Moment ms={lease.start_ms} />
            </Fact>
          )}
          {lease.end_ms > 0 && (
            <Fact name="Ends">
              <Moment ms={lease.end_ms} />
            </Fact>
          )}
          <Fact name="In escrow">{caes(lease.escrow)} CAES</Fact>
          {lease.paid !== null && (
            <>
              <Fact name="Paid">{caes(lease.paid)} CAES</Fact>
              <Fact name="Fee">{caes(lease.fee ?? 0)} CAES</Fact>
              <Fact name="Came back">{caes(lease.refund ?? 0)} CAES</Fact>
            </>
          )}
        </Facts>
      </Card>
      <Card title="Its life">
        <ol className="timeline">
          {events.map((event) => (
            <li key={`${event.height} ${event.name}`}>
              <small>
                <Moment ms={event.time_ms} />, block <a href={link(`/blocks/${event.height}`)}>{event.height}</a>
              </small>
              <p>
                {event.operation?.tx ? <a href={link(`/transactions/${event.operation.tx}`)}>{event.words}</a> : event.words}
              </p>
            </li>
          ))}
        </ol>
      </Card>
    </div>
  );
}

function Receipt({ lease }: { lease: Lease }) {
  const [receipt, setReceipt] = useState<Schemas["ReceiptDocument"] | null>(null);
  const { busy, problem, run } = useWrite();
  if (lease.paid === null) return <p className="muted">The receipt is there when the lease is settled.</p>;
  const fetchIt = (): Promise<void> => run(async () => setReceipt(await read(`/v1/leases/${lease.lease}/receipt`)));
  const save = (): void => download(`receipt-${lease.lease.slice(0, 16)}.json`, receipt);
  return (
    <div className="stack">
      <p>Every figure's origin, in words; and the check that needs neither this node nor a network:</p>
      <Command>{`hm explain ${lease.lease}`}</Command>
      <Command>{`hm verify receipt-${lease.lease.slice(0, 16)}.json`}</Command>
      <WriteProblem problem={problem} />
      <div className="row">
        {receipt ? (
          <button type="button" className="button primary" onClick={save}>
            Save the receipt
          </button>
        ) : (
          <button type="button" className="button primary" disabled={busy} onClick={() => void fetchIt()}>
            Get the receipt
          </button>
        )}
      </div>
      {receipt && (
        <Card title="Figures">
          <Facts>
            <Fact name="Held">{duration(receipt.use.held_ms)}, as the host's meter says</Fact>
            <Fact name="Charged">{duration(receipt.figures.charged_ms)}</Fact>
            <Fact name="CPU time">{duration(receipt.use.cpu_us / 1000)}</Fact>
            <Fact name="Paid">{caes(receipt.figures.paid)} CAES</Fact>
            <Fact name="Fee">{caes(receipt.figures.fee)} CAES</Fact>
            <Fact name="Came back">{caes(receipt.figures.refund)} CAES</Fact>
            <Fact name="Transactions">{receipt.proofs.map((each) => each.step).join(", ")}, each proven to a signed block</Fact>
          </Facts>
        </Card>
      )}
    </div>
  );
}
