/** One asset: what it is, its proofs, who may use it, whose it is, and what became of it. */
import { useState } from "react";
import { write } from "../api/client.ts";
import { touch, usePages, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Dialog } from "../components/dialog.tsx";
import { Empty, Loaded } from "../components/feedback.tsx";
import { Field, submitting, useWrite, WriteButton, WriteProblem } from "../components/form.tsx";
import { History } from "../components/history.tsx";
import { AssetMeter } from "../components/meter.tsx";
import { Ownership } from "../components/ownership.tsx";
import { Card, Page } from "../components/page.tsx";
import { PrivacyEditor } from "../components/privacy.tsx";
import { Proofs } from "../components/proofs.tsx";
import { ReleaseButton } from "../components/release.tsx";
import { Level, StateOf } from "../components/state.tsx";
import { Table } from "../components/table.tsx";
import { Tabs } from "../components/tabs.tsx";
import { Fact, Facts, Id, Json, Moment } from "../components/text.tsx";
import { announce } from "../components/toast.tsx";
import { caes, detail, kindName, parseBytes, percent, price, units, words } from "../format.ts";
import { go, link } from "../route.ts";

type Asset = Schemas["AssetView"];

export function AssetPage({ id }: { id: string }) {
  const asset = useRead<Asset>(`/assets/${id}`, { topics: ["asset", "lease", "privacy"] });
  const { data } = asset;
  return (
    <Page
      title={data ? `${kindName(data.kind)} of ${data.host_name}` : "Asset"}
      subtitle={data ? <Id of={data.address} what="the address" whole /> : <Id of={id} what="the asset's id" whole />}
      subject={{ noun: "asset", id }}
      actions={data && <LeaseButton asset={data} />}
    >
      <Loaded of={asset} what="the asset">
        {(known) => (
          <>
            <p className="row">
              <StateOf state={known.state} />
              <Level level={known.level} />
              <span>
                owned by <Id of={known.owner} what="the owner's id" /> {known.owned && "(you)"}
              </span>
            </p>
            <Tabs
              label="The asset"
              tabs={[
                { name: "overview", label: "Overview", content: () => <AssetOverview asset={known} /> },
                { name: "privacy", label: "Privacy", content: () => <Privacy asset={known} /> },
                { name: "owner", label: "Ownership", content: () => <Ownership asset={known} /> },
                { name: "history", label: "History", content: () => <History asset={known.asset} /> },
                { name: "json", label: "JSON", content: () => <Json value={known} what="the asset as JSON" /> },
              ]}
            />
          </>
        )}
      </Loaded>
    </Page>
  );
}

function AssetOverview({ asset }: { asset: Asset }) {
  return (
    <>
      <Proofs node={asset.host} />
      <div className="columns">
        <Card title="What it is">
          <div className="stack">
            <AssetMeter asset={asset} />
            <Facts>
              <Fact name="Host">
                <a href={link(`/nodes/${asset.host}`)}>{asset.host_name}</a>
              </Fact>
              <Fact name="Limit kept by">{asset.enforcement ?? "not shown"}</Fact>
              <Fact name="Price">{asset.price ? price(asset.price, asset.kind) : "not shown"}</Fact>
              <Fact name="Leases">
                {asset.leases} of at most {asset.concurrent_max}
              </Fact>
              {asset.shared_basis_points !== null && <Fact name="Lent at most">{percent(asset.shared_basis_points / 10_000)}</Fact>}
              {asset.region && <Fact name="Region">{asset.region}</Fact>}
              <Fact name="Registered">
                <Moment ms={asset.registered_ms} />
              </Fact>
              <Fact name="Revision">{asset.revision}</Fact>
              {Object.entries(asset.detail ?? {}).map(([name, value]) => (
                <Fact key={name} name={words(name)}>
                  {detail(name, value)}
                </Fact>
              ))}
            </Facts>
            <States asset={asset} />
          </div>
        </Card>
        <Card title="Leases of yours on it">
          <LeasesOn asset={asset} />
        </Card>
      </div>
    </>
  );
}

const STATE_WORDS: Record<string, string> = {
  available: "Put back into service",
  suspended: "Suspend",
  maintenance: "Take out for maintenance",
  failed: "Mark as failed",
};

/** The states that its owner may bring it to. */
function States({ asset }: { asset: Asset }) {
  const { busy, problem, run } = useWrite();
  if (asset.actions.length === 0) return null;
  const bring = (state: string): Promise<void> =>
    run(async () => {
      await write("PUT", `/assets/${asset.asset}/state`, { state });
      announce(`The asset is ${words(state)}`);
      touch("asset");
    });
  return (
    <>
      <div className="row">
        {asset.actions.map((state) => (
          <WriteButton key={state} busy={busy} onClick={() => void bring(state)}>
            {STATE_WORDS[state] ?? words(state)}
          </WriteButton>
        ))}
      </div>
      <WriteProblem problem={problem} />
    </>
  );
}

function LeasesOn({ asset }: { asset: Asset }) {
  const leases = usePages<Schemas["LeaseView"]>("/v1/leases", 1, { topics: ["lease"], query: { limit: 200 } });
  return (
    <Loaded of={leases} what="the leases">
      {({ items }) => {
        const here = items.filter((each) => each.asset === asset.asset && each.paid === null);
        if (here.length === 0) return <Empty icon="leases" title="None runs" />;
        return (
          <Table
            caption="Leases on this asset"
            rows={here}
            rowKey={(lease) => lease.lease}
            columns={[
              { title: "Lease", cell: (lease) => <Id of={lease.lease} what="the lease" href={link(`/leases/${lease.lease}`)} /> },
              { title: "State", cell: (lease) => <StateOf state={lease.state} /> },
              { title: "Amount", cell: (lease) => units(lease.amount, lease.kind), number: true },
              { title: "End it", cell: (lease) => <ReleaseButton lease={lease} /> },
            ]}
          />
        );
      }}
    </Loaded>
  );
}

function Privacy({ asset }: { asset: Asset }) {
  const settings = usePages<Schemas["PrivacyView"]>("/privacy/settings", 5, { topics: ["privacy", "asset"], query: { limit: 200 } });
  return (
    <Loaded of={settings} what="the terms">
      {({ items }) => {
        const terms = items.find((each) => each.asset === asset.asset);
        if (!terms) {
          return (
            <Empty icon="lock" title="Not yours to set">
              <p>Who may see and lease this asset is decided by its owner, on the node that hosts it.</p>
            </Empty>
          );
        }
        return <PrivacyEditor key={terms.revision} terms={terms} />;
      }}
    </Loaded>
  );
}

const MINUTE_MS = 60_000;

function LeaseButton({ asset }: { asset: Asset }) {
  const [open, setOpen] = useState(false);
  if (asset.state !== "available" && asset.state !== "allocated") return null;
  return (
    <>
      <WriteButton kind="primary" onClick={() => setOpen(true)}>
        Lease…
      </WriteButton>
      {open && <LeaseDialog asset={asset} onClose={() => setOpen(false)} />}
    </>
  );
}

/** Units as a person types them for this kind. */
function amountOf(text: string, kind: string): number | null {
  if (kind === "memory" || kind === "storage") return parseBytes(text);
  const value = Number(text);
  const scaled = kind === "cpu" ? value * 1000 : value;
  return Number.isInteger(Math.round(scaled)) && scaled >= 1 ? Math.round(scaled) : null;
}

function LeaseDialog({ asset, onClose }: { asset: Asset; onClose: () => void }) {
  const isBytes = asset.kind === "memory" || asset.kind === "storage";
  const [text, setText] = useState(isBytes ? "64MiB" : asset.kind === "cpu" ? "0.1" : "1");
  const [minutes, setMinutes] = useState("10");
  const { busy, problem, run } = useWrite();
  const amount = amountOf(text, asset.kind);
  const duration_ms = Math.round(Number(minutes) * MINUTE_MS);
  const tooMuch = amount !== null && asset.free !== null && amount > asset.free;
  const wrong = amount === null ? (isBytes ? "Say, 64MiB" : "A number above zero") : tooMuch ? `Only ${units(asset.free, asset.kind)} is free` : null;
  const rightTime = duration_ms >= 1000 && duration_ms <= 86_400_000;
  const cost =
    asset.price && amount !== null && rightTime
      ? (BigInt(asset.price.amount) * BigInt(amount) * BigInt(duration_ms)) / (BigInt(asset.price.per_units) * BigInt(asset.price.per_ms)) + 1n
      : null;
  const lease = (): Promise<void> =>
    run(async () => {
      const session = await write<Schemas["SessionView"]>("PUT", `/assets/${asset.asset}/allocate`, { amount, duration_ms, keep: true });
      announce("Leased");
      touch("lease");
      onClose();
      go(`/leases/${session.lease.lease}`);
    });
  return (
    <Dialog title={`Lease ${kindName(asset.kind)} of ${asset.host_name}`} onClose={onClose}>
      <form className="stack" onSubmit={submitting(() => void lease())}>
        <div className="form-grid">
          <Field label={isBytes ? "Size" : asset.kind === "cpu" ? "Cores" : "Units"} hint={`${units(asset.free, asset.kind)} free`} wrong={wrong}>
            {(attributes) => <input {...attributes} value={text} onChange={(event) => setText(event.target.value)} data-first />}
          </Field>
          <Field label="Minutes" hint="at most a day" wrong={rightTime ? null : "Between a second and a day"}>
            {(attributes) => <input {...attributes} inputMode="decimal" value={minutes} onChange={(event) => setMinutes(event.target.value)} />}
          </Field>
        </div>
        <p>
          {cost === null
            ? "Its host says the price when it offers."
            : `Sets aside at most ${caes(cost)} CAES and the network's fee; what is not used comes back.`}
        </p>
        <WriteProblem problem={problem} />
        <footer>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <WriteButton type="submit" kind="primary" busy={busy} disabled={wrong !== null || !rightTime}>
            Lease
          </WriteButton>
        </footer>
      </form>
    </Dialog>
  );
}
