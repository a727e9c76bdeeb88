/** The blocks as they come, with what each operation means. */
import { useState } from "react";
import { usePages } from "../api/resource.ts";
import type { Schemas } from "../api/types.ts";
import { Empty, Loaded } from "../components/feedback.tsx";
import { Field, Select } from "../components/form.tsx";
import { Icon } from "../components/icon.tsx";
import { OperationLine } from "../components/operation.tsx";
import { Page } from "../components/page.tsx";
import { More } from "../components/table.tsx";
import { Ago } from "../components/text.tsx";
import { count, plural } from "../format.ts";
import { live } from "../live/feed.ts";
import { amend, go, link, usePlace } from "../route.ts";
import { useStore } from "../store.ts";

type Block = Schemas["BlockSummary"];

export function LedgerPage() {
  const { query } = usePlace();
  const pages = Number(query.get("pages") ?? 1);
  const show = query.get("show") ?? "";
  const [paused, setPaused] = useState<{ items: Block[]; more: boolean } | null>(null);
  const blocks = usePages<Block>("/v1/blocks", pages, { topics: ["block"], query: { limit: 30 } });
  const height = useStore(live)?.height;
  const top = paused?.items[0]?.height;
  const missed = top !== undefined && height !== undefined ? height - top : 0;
  return (
    <Page
      title="Ledger"
      subtitle={height === undefined ? "Blocks, newest first" : `Height ${count(height)}`}
      subject={{ noun: "blocks" }}
      actions={
        <button
          type="button"
          className="button"
          aria-pressed={paused !== null}
          disabled={!paused && !blocks.data}
          onClick={() => setPaused(paused ? null : (blocks.data ?? null))}
        >
          <Icon name={paused ? "play" : "pause"} />
          {paused ? `Go on${missed > 0 ? ` (${plural(missed, "new block")})` : ""}` : "Pause"}
        </button>
      }
    >
      <search className="filters">
        <Select
          label="Show"
          value={show}
          options={[
            ["", "Blocks with operations"],
            ["all", "All blocks"],
            ["refused", "Refused operations"],
          ]}
          onChange={(chosen) => amend({ show: chosen })}
        />
        <GoTo />
      </search>
      <Loaded of={paused ? { ...blocks, data: paused } : blocks} what="the blocks">
        {({ items, more }) => {
          const shown = items.filter((block) => fits(block, show));
          return (
            <>
              {shown.length === 0 && <Empty icon="ledger" title="No such block among the last ones" />}
              <ol className="blocks" aria-label="Blocks">
                {shown.map((block) => (
                  <BlockCard key={block.height} block={block} />
                ))}
              </ol>
              <More more={more} onMore={() => amend({ pages: String(pages + 1) })} />
            </>
          );
        }}
      </Loaded>
    </Page>
  );
}

function fits(block: Block, show: string): boolean {
  if (show === "all") return true;
  const done = block.operations.filter((each) => each.tx !== null);
  return show === "refused" ? done.some((each) => each.code !== "ok") : done.length > 0;
}

function BlockCard({ block }: { block: Block }) {
  const hidden = block.entries - block.operations.length;
  const done = block.operations.filter((each) => each.tx !== null);
  return (
    <li className="card block">
      <div>
        <a href={link(`/blocks/${block.height}`)}>
          <strong>Block {count(block.height)}</strong>
        </a>
        <br />
        <small>
          <Ago ms={block.time_ms} />
        </small>
      </div>
      <ul className="operations">
        {done.length === 0 && <li className="muted">No operation; it keeps the time and what falls due.</li>}
        {done.map((operation) => (
          <OperationLine key={operation.index} operation={operation} />
        ))}
        {hidden > 0 && (
          <li>
            <a href={link(`/blocks/${block.height}`)}>{plural(hidden, "more operation")}</a>
          </li>
        )}
      </ul>
    </li>
  );
}

function GoTo() {
  const [text, setText] = useState("");
  return (
    <form
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        if (/^\d+$/.test(text)) go(`/blocks/${text}`);
        else if (/^[0-9a-f]{64}$/.test(text)) go(`/transactions/${text}`);
      }}
    >
      <Field label="Go to" hint="a height or a transaction's id, then Enter">
        {(attributes) => <input {...attributes} type="search" value={text} onChange={(event) => setText(event.target.value.trim())} />}
      </Field>
    </form>
  );
}
