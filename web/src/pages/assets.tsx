/** What the pool has, with filters that stand in the URL. */
import { usePages } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Empty, Loaded } from "../components/feedback.tsx";
import { Field, Select } from "../components/form.tsx";
import { KindIcon } from "../components/icon.tsx";
import { Page } from "../components/page.tsx";
import { Level, State, StateOf } from "../components/state.tsx";
import { type Column, More, Table } from "../components/table.tsx";
import { kindName, plural, price, units, words } from "../format.ts";
import { amend, link, usePlace } from "../route.ts";

type Asset = Schemas["AssetView"];

const KINDS = ["cpu", "gpu", "memory", "storage", "container", "network"] as const;
const LEVELS = ["private", "private_network", "p2p", "public_network", "full_public"] as const;

const COLUMNS: readonly Column<Asset>[] = [
  {
    title: "Asset",
    cell: (asset) => (
      <>
        <KindIcon kind={asset.kind} />{" "}
        <a href={link(`/assets/${asset.asset}`)}>
          {kindName(asset.kind)} of {asset.host_name}
        </a>
      </>
    ),
  },
  { title: "State", cell: (asset) => <StateOf state={asset.state} /> },
  { title: "Free", cell: (asset) => <span className="live">{units(asset.free, asset.kind)}</span>, number: true },
  { title: "Of", cell: (asset) => units(asset.capacity, asset.kind), number: true },
  { title: "Price", cell: (asset) => (asset.price ? price(asset.price, asset.kind) : "not shown") },
  { title: "Level", cell: (asset) => <Level level={asset.level} /> },
  {
    title: "Proofs",
    cell: (asset) => (
      <State tone={asset.attestation.in_force ? "good" : "warn"}>{asset.attestation.in_force ? "in force" : "not in force"}</State>
    ),
  },
  { title: "For sale", cell: (asset) => (asset.title ? <State tone="busy">offered</State> : "no") },
];

export function AssetsPage() {
  const { query } = usePlace();
  const kind = query.get("kind") ?? "";
  const level = query.get("level") ?? "";
  const whose = query.get("whose") ?? "";
  const text = (query.get("q") ?? "").toLowerCase();
  const pages = Number(query.get("pages") ?? 1);
  const assets = usePages<Asset>("/assets", pages, {
    query: { kind: kind || undefined, limit: 100 },
    topics: ["asset", "lease", "privacy", "node"],
  });
  return (
    <Page title="Assets" subtitle="What this node may discover" subject={kind ? { noun: "assets", kind } : { noun: "assets" }}>
      <search className="filters">
        <Select
          label="Kind"
          value={kind}
          options={[["", "All kinds"], ...KINDS.map((each) => [each, kindName(each)] as const)]}
          onChange={(chosen) => amend({ kind: chosen, pages: undefined })}
        />
        <Select
          label="Privacy level"
          value={level}
          options={[["", "All levels"], ...LEVELS.map((each) => [each, each === "p2p" ? "P2P" : words(each)] as const)]}
          onChange={(chosen) => amend({ level: chosen })}
        />
        <Select
          label="Whose"
          value={whose}
          options={[
            ["", "Everybody's"],
            ["here", "On this machine"],
            ["mine", "Mine"],
            ["others", "Others'"],
            ["sale", "For sale"],
          ]}
          onChange={(chosen) => amend({ whose: chosen })}
        />
        <Field label="Search">
          {(attributes) => (
            <input
              {...attributes}
              type="search"
              placeholder="host, address, id"
              value={query.get("q") ?? ""}
              onChange={(event) => amend({ q: event.target.value })}
            />
          )}
        </Field>
      </search>
      <Loaded of={assets} what="the assets">
        {({ items, more }) => {
          const shown = items.filter(
            (asset) =>
              (!level || asset.level === level) &&
              belongs(asset, whose) &&
              (!text || `${asset.host_name} ${asset.address} ${asset.asset} ${asset.owner}`.toLowerCase().includes(text)),
          );
          return (
            <>
              <p className="muted" role="status">
                {plural(shown.length, "asset")}
                {shown.length < items.length && ` of ${items.length}`}
              </p>
              {shown.length === 0 ? (
                <Empty icon="assets" title={items.length ? "No asset is like that" : "No assets are visible"}>
                  {items.length ? (
                    <a href={link("/assets")}>Leave the filters out</a>
                  ) : (
                    <p>Assets of others show up when their level lets this node see them.</p>
                  )}
                </Empty>
              ) : (
                <Table caption="Assets" columns={COLUMNS} rows={shown.toSorted(byHost)} rowKey={(asset) => asset.asset} />
              )}
              <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

/** This machine's first, then by host and kind. */
function byHost(one: Asset, other: Asset): number {
  return Number(other.mine) - Number(one.mine) || one.host_name.localeCompare(other.host_name) || one.kind.localeCompare(other.kind);
}

function belongs(asset: Asset, whose: string): boolean {
  switch (whose) {
    case "here":
      return asset.mine;
    case "mine":
      return asset.owned;
    case "others":
      return !asset.owned;
    case "sale":
      return asset.title !== null;
    default:
      return true;
  }
}
