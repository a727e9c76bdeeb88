/** TrustChain: who certifies, what is certified until when, the logs of it, and the names. */
import { usePages, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Empty, Loaded } from "../components/feedback.tsx";
import { Figure } from "../components/figure.tsx";
import { Card, Page, Section } from "../components/page.tsx";
import { State } from "../components/state.tsx";
import { More, Table } from "../components/table.tsx";
import { Tabs } from "../components/tabs.tsx";
import { Ago, Command, Fact, Facts, Id, Moment } from "../components/text.tsx";
import { count, duration, plural } from "../format.ts";
import { amend, link, usePlace } from "../route.ts";
import { clock, useStore } from "../store.ts";

type Authority = Schemas["AuthorityView"];
type Certificate = Schemas["CertificateView"];
type Logs = Schemas["CtView"];
type Log = Schemas["LogView"];
type Growths = Schemas["CtGrowth"];
type Growth = Schemas["LogGrowth"];
type Names = Schemas["DnsView"];
type Name = Schemas["DnsName"];

const AGAIN_MS = 5_000;
const GROWTH_MS = 15_000;
const HOUR_MS = 3_600_000;
/** A node renews its own with a third of the day left. */
const RENEWED_BY_MS = 8 * HOUR_MS;

export function TrustChainPage() {
  const authority = useRead<Authority>("/v1/certificates/issuer", { topics: ["node"] });
  const logs = useRead<Logs>("/v1/ct", { topics: ["node"], everyMs: AGAIN_MS });
  const names = useRead<Names>("/v1/dns", { topics: ["node", "asset", "name", "phase"], everyMs: AGAIN_MS });
  const certificates = useCertificates(1);
  return (
    <Page title="TrustChain" subtitle="Certificates, the logs of them, and names" subject={{ noun: "certificates" }}>
      <div className="figures">
        <Present certificates={certificates} />
        <Logged of={logs.data} />
        <Named of={names.data} />
      </div>
      <Tabs
        label="What to show of TrustChain"
        tabs={[
          { name: "certificates", label: "Certificates", content: () => <Certificates /> },
          { name: "authority", label: "Authority", content: () => <Loaded of={authority} what="the authority">{(data) => <AuthorityCard of={data} />}</Loaded> },
          { name: "logs", label: "Logs", content: () => <Loaded of={logs} what="the logs">{(data) => <LogCards of={data} />}</Loaded> },
          { name: "names", label: "Names", content: () => <Loaded of={names} what="the name server">{(data) => <NameServer of={data} />}</Loaded> },
        ]}
      />
    </Page>
  );
}

function useCertificates(pages: number) {
  return usePages<Certificate>("/v1/certificates", pages, { topics: ["node"], query: { limit: 100 } });
}

/** Those by which nodes are known now; each node has one. */
function inForce(all: Certificate[], now: number): Certificate[] {
  return all.filter((each) => each.current && !each.revoked && each.not_after_ms > now);
}

function Present({ certificates }: { certificates: ReturnType<typeof useCertificates> }) {
  const now = useStore(clock);
  const items = certificates.data?.items;
  if (items === undefined) return <Figure label="In force" value="…" />;
  const present = inForce(items, now);
  const first = present.reduce<number | null>((least, each) => Math.min(least ?? Infinity, each.not_after_ms), null);
  return (
    <>
      <Figure label="In force" value={count(present.length)} note={first === null ? "no certificate holds now" : `the first ends in ${duration(first - now)}`} />
      <Figure label="Revoked nodes" value={count(new Set(items.filter((each) => each.revoked).map((each) => each.node)).size)} note="for good, by the ledger" />
    </>
  );
}

function Logged({ of }: { of: Logs | undefined }) {
  const log = of?.logs.find((each) => each.purpose === "certificates" && each.ended_height === null);
  if (of === undefined) return <Figure label="Logged certificates" value="…" />;
  if (log === undefined) return <Figure label="Logged certificates" value="none" note="this network has no transparency log" />;
  return <Figure label="Logged certificates" value={count(log.here?.size ?? log.anchored.size)} note={`${count(log.anchored.size)} of them anchored in the ledger`} />;
}

function Named({ of }: { of: Names | undefined }) {
  if (of === undefined) return <Figure label="Names" value="…" />;
  return <Figure label="Names" value={count(of.names)} note={`phase ${of.phase}: ${of.phase_name}`} />;
}

function Certificates() {
  const pages = Number(usePlace().query.get("pages") ?? 1);
  const certificates = useCertificates(pages);
  return (
    <Loaded of={certificates} what="the certificates">
      {({ items, more }) =>
        items.length === 0 ? (
          <Empty icon="trust" title="This node knows no certificate" />
        ) : (
          <>
            <Table
              caption="Certificates"
              rows={byEnd(items)}
              rowKey={(each) => each.sha256}
              columns={[
                { title: "Node", cell: (each) => <a href={link(`/nodes/${each.node}`)}>{each.name || each.node.slice(0, 12)}</a> },
                { title: "Standing", cell: (each) => <Standing of={each} /> },
                { title: "Ends", cell: (each) => <Life of={each} />, wide: true },
                { title: "At", cell: (each) => <Moment ms={each.not_after_ms} /> },
                { title: "Known by", cell: (each) => KNOWN_BY[each.known_by] },
                { title: "SHA-256", cell: (each) => <Id of={each.sha256} what="the certificate's SHA-256" /> },
              ]}
            />
            <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
            {items.every((each) => each.known_by !== "authority") && (
              <p className="muted">This node has its own certificate; of the others it has digest and end from the ledger. The node that founded the network has all of them.</p>
            )}
          </>
        )
      }
    </Loaded>
  );
}

/** What ends next comes first; after that what counts no more, the last to end first. */
function byEnd(all: Certificate[]): Certificate[] {
  const counts = (each: Certificate): boolean => each.current && !each.revoked;
  return all.toSorted((one, other) => {
    if (counts(one) !== counts(other)) return counts(one) ? -1 : 1;
    return counts(one) ? one.not_after_ms - other.not_after_ms : other.not_after_ms - one.not_after_ms;
  });
}

const KNOWN_BY: Record<Certificate["known_by"], string> = {
  authority: "the authority here",
  self: "this node's own",
  ledger: "the ledger",
};

function Standing({ of }: { of: Certificate }) {
  const now = useStore(clock);
  if (of.revoked) return <State tone="bad">node revoked</State>;
  if (of.not_after_ms <= now) return <State tone={of.current ? "warn" : "idle"}>ended</State>;
  if (!of.current) return <State tone="idle">superseded</State>;
  return of.not_after_ms - now < RENEWED_BY_MS ? <State tone="busy">renewed soon</State> : <State tone="good">in force</State>;
}

/** How much of its life is over, as a bar beside the words. */
function Life({ of }: { of: Certificate }) {
  const now = useStore(clock);
  const left = of.not_after_ms - now;
  const words = left > 0 ? `in ${duration(Math.round(left / 60_000) * 60_000)}` : `${duration(Math.round(-left / 60_000) * 60_000)} ago`;
  const begun = of.not_before_ms ?? of.not_after_ms - 24 * HOUR_MS;
  const share = Math.min(1, Math.max(0, left / (of.not_after_ms - begun)));
  return (
    <span className="life">
      <span className="track" aria-hidden="true">
        <span className="fill" style={{ width: `${share * 100}%` }} />
      </span>
      {words}
    </span>
  );
}

function AuthorityCard({ of }: { of: Authority }) {
  return (
    <Card title="Issuing CA" aside={of.here ? <State tone="good">on this node</State> : <State tone="idle">on another node</State>}>
      <Facts>
        <Fact name="Issuing CA">
          <Id of={of.issuing_sha256} what="the issuing CA's SHA-256" whole />
        </Fact>
        <Fact name="It ends">
          <Moment ms={of.issuing_not_after_ms} />
        </Fact>
        <Fact name="Root">
          <Id of={of.root_sha256} what="the root's SHA-256" whole />
        </Fact>
        <Fact name="The root ends">
          <Moment ms={of.root_not_after_ms} />
        </Fact>
        <Fact name="Replaced">{of.replaced === 0 ? "never: it is that of genesis" : plural(of.replaced, "time")}</Fact>
        {of.believed_until_ms !== null && (
          <Fact name="The one before is believed until">
            <Moment ms={of.believed_until_ms} />
          </Fact>
        )}
      </Facts>
      {of.here && (
        <div className="stack below">
          <p className="muted">If its key may be in other hands, replace it. Every node renews its certificate, and connections stay:</p>
          <Command>hm cert rotate-issuer --reason "its key was copied"</Command>
        </div>
      )}
    </Card>
  );
}

function LogCards({ of }: { of: Logs }) {
  if (of.logs.length === 0)
    return (
      <Empty icon="ledger" title="This network has no transparency log">
        <p>It was founded before there were any, or its authority has begun none yet.</p>
      </Empty>
    );
  return (
    <div className="stack">
      {of.failure !== null && (
        <div className="problem" role="alert">
          <p className="what">A log takes no entries, so nothing is certified: {of.failure}</p>
        </div>
      )}
      <div className="cards">
        {of.logs.map((log) => (
          <LogCard key={log.fingerprint} log={log} />
        ))}
      </div>
      {of.certificate === null ? (
        <p className="muted">This node's own certificate is in none of them.</p>
      ) : (
        <p className="muted">
          This node's own certificate is entry {count(of.certificate.index)} of <span className="mono id">{of.certificate.origin}</span>,{" "}
          {of.certificate.anchored ? "and anchored in the ledger." : "and not anchored yet."}
        </p>
      )}
    </div>
  );
}

function LogCard({ log }: { log: Log }) {
  return (
    <Card title={log.purpose === "certificates" ? "Certificates" : "Acts of the authority"} aside={<LogState log={log} />}>
      <Facts>
        <Fact name="Origin">
          <span className="mono id">{log.origin}</span>
        </Fact>
        <Fact name="Anchored">
          {plural(log.anchored.size, "entry", "entries")}, in block <a href={link(`/blocks/${log.anchored.height}`)}>{count(log.anchored.height)}</a>, <Ago ms={log.anchored.time_ms} />
        </Fact>
        <Fact name="Root">
          <Id of={log.anchored.root} what="the anchored root" />
        </Fact>
        <Fact name="In the log">
          {log.here === null ? "The node with the authority keeps it" : `${plural(log.here.size, "entry", "entries")}${log.here.waiting ? `, ${count(log.here.waiting)} waiting` : ""}`}
        </Fact>
        <Fact name="Begun">
          in block <a href={link(`/blocks/${log.begun_height}`)}>{count(log.begun_height)}</a>
        </Fact>
      </Facts>
      {log.ended_height === null && <GrowthOf origin={log.origin} />}
      {log.here !== null && (
        <details>
          <summary>Newest checkpoint</summary>
          <pre className="log" tabIndex={0} role="region" aria-label={`Checkpoint of ${log.origin}`}>
            {log.here.checkpoint}
          </pre>
        </details>
      )}
    </Card>
  );
}

const WIDE = 600;
const HIGH = 120;

/** A log has the size of its last anchor until the next one: steps, and nothing between them. */
function GrowthOf({ origin }: { origin: string }) {
  const growth = useRead<Growths>("/v1/ct/growth", { topics: ["node"], everyMs: GROWTH_MS });
  return (
    <Loaded of={growth} what="the growth of the log">
      {({ logs }) => {
        const of = logs.find((each) => each.origin === origin);
        return of === undefined || of.items.length < 2 ? <p className="muted">Its growth is shown once the ledger has anchored it twice.</p> : <Curve of={of} />;
      }}
    </Loaded>
  );
}

function Curve({ of }: { of: Growth }) {
  const [first, last] = [of.items[0], of.items.at(-1)];
  if (first === undefined || last === undefined) return null;
  const across = (ms: number): number => ((ms - first.time_ms) / Math.max(1, last.time_ms - first.time_ms)) * WIDE;
  const up = (size: number): number => HIGH - (size / last.size) * HIGH;
  const steps = of.items.slice(1).map((each) => `H${across(each.time_ms).toFixed(1)}V${up(each.size).toFixed(1)}`);
  const left = of.anchors - of.items.length;
  return (
    <figure className="growth">
      <svg viewBox={`-4 -4 ${WIDE + 8} ${HIGH + 8}`} role="img" aria-label={`From ${count(first.size)} to ${plural(last.size, "entry", "entries")} in ${plural(of.anchors, "anchor")}`} preserveAspectRatio="none">
        <path d={`M0 ${HIGH}H${WIDE}`} className="axis" />
        <path d={`M0 ${up(first.size).toFixed(1)}${steps.join("")}`} />
      </svg>
      <figcaption className="row spread muted">
        <span>
          {plural(first.size, "entry", "entries")}, <Moment ms={first.time_ms} />
        </span>
        <span>
          {plural(of.anchors, "anchor")} on the ledger{left > 0 ? `, ${count(of.items.length)} of them drawn` : ""}
        </span>
        <span>
          {plural(last.size, "entry", "entries")}, <Moment ms={last.time_ms} />
        </span>
      </figcaption>
    </figure>
  );
}

function LogState({ log }: { log: Log }) {
  if (log.ended_height !== null) return <State tone="idle">ended</State>;
  if (log.here?.failure) return <State tone="bad">takes no entries</State>;
  const behind = (log.here?.size ?? log.anchored.size) - log.anchored.size;
  return behind > 0 ? <State tone="busy">being anchored</State> : <State tone="good">anchored</State>;
}

const PHASES = ["DNS answers for names of the mesh", "DNS answers, and the ledger is compared with it", "The ledger answers first, DNS for what it lacks", "The ledger alone answers"];

function NameServer({ of }: { of: Names }) {
  return (
    <div className="stack">
      <Card title="Name server" aside={<ServerState of={of} />}>
        <Facts>
          <Fact name="Phase">
            {of.phase}: {PHASES[of.phase] ?? of.phase_name}
          </Fact>
          <Fact name="Zone">
            <span className="mono id">{of.zone}</span>
          </Fact>
          <Fact name="Serves at">{of.addresses.length === 0 ? "nowhere" : of.addresses.map((each) => `${each.transport} [${each.host}]:${each.port}`).join(", ")}</Fact>
          <Fact name="Stands at">{of.height === null ? "the ledger was not read yet" : <a href={link(`/blocks/${of.height}`)}>block {count(of.height)}</a>}</Fact>
          <Fact name="Asks">{of.upstream.length === 0 ? "nobody for other names" : of.upstream.join(", ")}</Fact>
        </Facts>
        <div className="stack below">
          {of.failure !== null && <p className="muted">It does not serve: {of.failure}</p>}
          <p className="muted">Another phase is one command, and the way back as well:</p>
          <Command>{`hm dns phase ${of.phase === 3 ? 2 : of.phase + 1}`}</Command>
        </div>
      </Card>
      <NameList />
    </div>
  );
}

function ServerState({ of }: { of: Names }) {
  if (of.addresses.length > 0) return <State tone="good">serving</State>;
  return of.listen === "" ? <State tone="idle">switched off</State> : <State tone="warn">not serving</State>;
}

function NameList() {
  const pages = Number(usePlace().query.get("pages") ?? 1);
  const names = usePages<Name>("/v1/dns/names", pages, { topics: ["node", "asset", "privacy", "name"], query: { limit: 100 } });
  return (
    <Section title="Names" aside={<small>What a stranger may see</small>}>
      <Loaded of={names} what="the names">
        {({ items, more }) =>
          items.length === 0 ? (
            <Empty icon="globe" title="The ledger knows no name yet" />
          ) : (
            <>
              <Table
                caption="Names"
                rows={items}
                rowKey={(each) => each.name}
                columns={[
                  { title: "Name", cell: (each) => <span className="mono">{each.name}</span> },
                  { title: "What is there", cell: (each) => each.records.map((one) => one.type).join(", ") },
                  { title: "Addresses", cell: (each) => <Addresses of={each} />, wide: true },
                ]}
              />
              <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
            </>
          )
        }
      </Loaded>
    </Section>
  );
}

function Addresses({ of }: { of: Name }) {
  const found = of.records.filter((each) => each.type === "AAAA" || each.type === "A").flatMap((each) => each.data);
  return <span className="mono">{found.join(", ")}</span>;
}
