/** What this owner borrows and lends. */
import { usePages, useRead } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Empty, Loaded } from "../components/feedback.tsx";
import { Select } from "../components/form.tsx";
import { KindIcon } from "../components/icon.tsx";
import { LiveMemory } from "../components/memory.tsx";
import { Page } from "../components/page.tsx";
import { ReleaseButton } from "../components/release.tsx";
import { StateOf } from "../components/state.tsx";
import { More, Table } from "../components/table.tsx";
import { Id, Moment } from "../components/text.tsx";
import { caes, sum, units } from "../format.ts";
import { amend, link, usePlace } from "../route.ts";

type Lease = Schemas["LeaseView"];

export function LeasesPage() {
  const { query } = usePlace();
  const which = query.get("which") ?? "";
  const side = query.get("side") ?? "";
  const pages = Number(query.get("pages") ?? 1);
  const leases = usePages<Lease>("/v1/leases", pages, { topics: ["lease"], query: { limit: 100 } });
  const owner = useRead<Schemas["StatusView"]>("/v1/network").data?.owner;
  return (
    <Page title="Leases" subtitle="What you borrow and what you lend" subject={{ noun: "leases" }}>
      <LiveMemory />
      <search className="filters">
        <Select
          label="Show"
          value={which}
          options={[
            ["", "Running"],
            ["all", "All, also those that are over"],
          ]}
          onChange={(chosen) => amend({ which: chosen })}
        />
        <Select
          label="Side"
          value={side}
          options={[
            ["", "Borrowed and lent"],
            ["borrowed", "Borrowed"],
            ["lent", "Lent"],
          ]}
          onChange={(chosen) => amend({ side: chosen })}
        />
      </search>
      <Loaded of={leases} what="the leases">
        {({ items, more }) => {
          const shown = items.filter(
            (lease) =>
              (which === "all" || lease.paid === null) &&
              (!side || (side === "borrowed" ? lease.consumer === owner : lease.payee === owner)),
          );
          return (
            <>
              {shown.length === 0 ? (
                <Empty icon="leases" title={which === "all" ? "No lease yet" : "No lease runs"}>
                  <p>
                    <a href={link("/assets", { kind: "memory" })}>Lease memory</a> or <a href={link("/jobs")}>run a job</a>.
                  </p>
                </Empty>
              ) : (
                <LeaseTable leases={shown} owner={owner} />
              )}
              <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

function LeaseTable({ leases, owner }: { leases: Lease[]; owner: string | undefined }) {
  return (
    <Table
      caption="Leases"
      rows={leases}
      rowKey={(lease) => lease.lease}
      columns={[
        { title: "Lease", cell: (lease) => <Id of={lease.lease} what="the lease" href={link(`/leases/${lease.lease}`)} /> },
        {
          title: "What",
          cell: (lease) => (
            <>
              <KindIcon kind={lease.kind} /> {units(lease.amount, lease.kind)} of {lease.provider_name || "another node"}
            </>
          ),
        },
        { title: "Side", cell: (lease) => (lease.consumer === owner ? "borrowed" : "lent") },
        { title: "State", cell: (lease) => <StateOf state={lease.state} /> },
        {
          title: "CAES",
          cell: (lease) => (lease.paid === null ? `at most ${caes(lease.escrow)}` : caes(sum(lease.paid, lease.fee))),
          number: true,
        },
        { title: "Ends", cell: (lease) => (lease.end_ms ? <Moment ms={lease.end_ms} /> : "not begun") },
        { title: "End it", cell: (lease) => (lease.paid === null && lease.consumer === owner ? <ReleaseButton lease={lease} /> : "") },
      ]}
    />
  );
}
