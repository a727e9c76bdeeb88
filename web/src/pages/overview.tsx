/** Is all well, what needs doing, and the figures that matter. */
import { useEffect } from "react";
import { usePages, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Empty, Loaded } from "../components/feedback.tsx";
import { Figure } from "../components/figure.tsx";
import { Icon } from "../components/icon.tsx";
import { AssetMeter } from "../components/meter.tsx";
import { OperationLine } from "../components/operation.tsx";
import { Card, Page } from "../components/page.tsx";
import { State } from "../components/state.tsx";
import { AsOf, Command } from "../components/text.tsx";
import { caesFigure, count, duration, micros, plural, words } from "../format.ts";
import { live, ring } from "../live/feed.ts";
import { link } from "../route.ts";
import { useStore } from "../store.ts";

export function OverviewPage() {
  const status = useRead<Schemas["StatusView"]>("/v1/network", { topics: ["block"] });
  const { data } = status;
  return (
    <Page
      title="Overview"
      subtitle={data ? `${data.name} in ${data.network}, ${data.role}` : "This node and its network"}
      subject={{ noun: "network" }}
    >
      <Health />
      <Figures />
      <div className="columns">
        <Machine />
        <Recent />
      </div>
      <Latencies />
    </Page>
  );
}

type Health = Schemas["HealthView"];

const HEALTH_ICONS = { ok: "ok", attention: "warn", failing: "bad" } as const;
const HEALTH_WORDS = { ok: "All is well", attention: "Needs attention", failing: "Failing" } as const;

function Health() {
  const health = useRead<Health>("/v1/network/health", { topics: ["block", "node", "asset", "lease"] });
  const now = useStore(live);
  return (
    <Loaded of={health} what="the health">
      {(data) => {
        const level = (now?.level ?? data.level) as Health["level"];
        return (
          <section className="stack" aria-label="Health">
            <p className={`card health ${level}`}>
              <Icon name={HEALTH_ICONS[level]} />
              <span className="live">
                <span className="hidden">{HEALTH_WORDS[level]}: </span>
                {now?.summary ?? data.summary}
              </span>
            </p>
            {data.actions.length > 0 && (
              <Card title="To do" aside={<AsOf ms={health.asOf} />}>
                <ul className="stack">
                  {data.actions.map((action) => (
                    <Action key={`${action.name} ${action.what}`} action={action} />
                  ))}
                </ul>
              </Card>
            )}
          </section>
        );
      }}
    </Loaded>
  );
}

const ACTION_TONES = { note: "idle", attention: "warn", failing: "bad" } as const;

function Action({ action }: { action: Schemas["ActionView"] }) {
  const command = action.fix.replace(/^`(.*)`$/, "$1");
  return (
    <li className="stack">
      <div className="row">
        <State tone={ACTION_TONES[action.level]}>{action.level}</State>
        <strong>{action.what}</strong>
      </div>
      <p className="muted">{action.why}</p>
      {/^([A-Z_]+=\S* )?hm /.test(command) ? <Command>{command}</Command> : <p>{action.fix}</p>}
    </li>
  );
}

function Figures() {
  const account = useRead<Schemas["AccountView"]>("/v1/accounts/me", { topics: ["account", "lease", "block"] });
  const now = useStore(live);
  const balance = account.data?.balance;
  useEffect(() => {
    if (balance !== undefined) ring("balance").push(Date.now(), Number(balance));
  }, [balance, now?.time_ms]);
  const connected = now?.links.filter((each) => each.connected).length ?? 0;
  return (
    <div className="figures">
      <Figure
        label="Ledger height"
        value={now ? count(now.height) : "…"}
        series="height"
        note={now?.block_age_ms != null ? `last block ${duration(Math.round(now.block_age_ms / 1000) * 1000)} ago` : " "}
      />
      <Figure
        label="Other nodes connected"
        value={now ? `${connected} of ${now.links.length}` : "…"}
        series="connected"
        note={<a href={link("/nodes")}>See the nodes</a>}
      />
      <Figure
        label="Leases running"
        value={now ? count(now.leases) : "…"}
        series="leases"
        note={<a href={link("/leases")}>See the leases</a>}
      />
      <Figure
        label="Balance"
        {...(balance === undefined ? { value: "…" } : caesFigure(balance))}
        series="balance"
        note={<a href={link("/wallet")}>Why this balance</a>}
      />
    </div>
  );
}

function Machine() {
  const assets = usePages<Schemas["AssetView"]>("/assets", 1, { topics: ["asset", "lease", "privacy"], query: { limit: 200 } });
  return (
    <Card title="This machine lends" aside={<a href={link("/assets", { whose: "here" })}>All its assets</a>}>
      <Loaded of={assets} what="the assets">
        {({ items }) => {
          const mine = items.filter((each) => each.mine).toSorted((one, other) => one.kind.localeCompare(other.kind));
          if (mine.length === 0) {
            return (
              <Empty icon="assets" title="Nothing is lent from here">
                <p>A node declares its CPU and memory when it starts with a share above zero.</p>
              </Empty>
            );
          }
          return (
            <div className="stack">
              {mine.map((asset) => (
                <AssetMeter key={asset.asset} asset={asset} />
              ))}
            </div>
          );
        }}
      </Loaded>
    </Card>
  );
}

function Recent() {
  const blocks = usePages<Schemas["BlockSummary"]>("/v1/blocks", 1, { topics: ["block"], query: { limit: 8 } });
  return (
    <Card title="Just happened" aside={<a href={link("/blocks")}>The ledger</a>}>
      <Loaded of={blocks} what="the last blocks">
        {({ items }) => {
          const done = items.flatMap((block) =>
            block.operations.filter((each) => each.tx).map((operation) => ({ block, operation })),
          );
          if (done.length === 0) return <Empty icon="ledger" title="Nothing in the last blocks" />;
          return (
            <ul className="stack">
              {done.slice(0, 7).map(({ block, operation }) => (
                <OperationLine key={`${block.height}.${operation.index}`} operation={operation} time_ms={block.time_ms} />
              ))}
            </ul>
          );
        }}
      </Loaded>
    </Card>
  );
}

function Latencies() {
  const now = useStore(live);
  const operations = Object.entries(now?.operations ?? {});
  if (operations.length === 0) return null;
  return (
    <Card title="How long things took here">
      <div className="cards">
        {operations.map(([name, each]) => (
          <div key={name} className="figure">
            <span className="label">{words(name)}</span>
            <span className="live">
              <strong>{micros(each.p50_us)}</strong> median; 99 % within {micros(each.p99_us)}
            </span>
            <small>{plural(each.count, "operation")}</small>
          </div>
        ))}
      </div>
    </Card>
  );
}
