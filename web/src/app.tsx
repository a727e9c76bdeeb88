/** The frame around every page: menu, banners, and the page that the URL names. */
import { type ReactNode, useEffect, useRef, useState } from "react";
import { ErrorBoundary } from "./components/boundary.tsx";
import { Empty } from "./components/feedback.tsx";
import { Icon, type IconName } from "./components/icon.tsx";
import { Page } from "./components/page.tsx";
import { Copy } from "./components/text.tsx";
import { Toasts } from "./components/toast.tsx";
import { ago, clockTime } from "./format.ts";
import { feed } from "./live/feed.ts";
import { AssetPage } from "./pages/asset.tsx";
import { AssetsPage } from "./pages/assets.tsx";
import { BlockPage } from "./pages/block.tsx";
import { CheatPage } from "./pages/cheat.tsx";
import { FilesPage } from "./pages/files.tsx";
import { FirstRunPage } from "./pages/first-run.tsx";
import { JobPage } from "./pages/job.tsx";
import { JobsPage } from "./pages/jobs.tsx";
import { LeasePage } from "./pages/lease.tsx";
import { LeasesPage } from "./pages/leases.tsx";
import { LedgerPage } from "./pages/ledger.tsx";
import { NodePage } from "./pages/node.tsx";
import { NodesPage } from "./pages/nodes.tsx";
import { OverviewPage } from "./pages/overview.tsx";
import { TransactionPage } from "./pages/transaction.tsx";
import { TrustChainPage } from "./pages/trust-chain.tsx";
import { WalletPage } from "./pages/wallet.tsx";
import { link, usePlace } from "./route.ts";
import { token } from "./session.ts";
import { clock, useStore } from "./store.ts";
import { nextTheme, theme } from "./theme.ts";

interface Entry {
  path: string;
  label: string;
  icon: IconName;
  page: () => ReactNode;
  /** The page of one of them. */
  one?: (id: string) => ReactNode;
}

const MENU: readonly Entry[] = [
  { path: "", label: "Overview", icon: "overview", page: () => <OverviewPage /> },
  { path: "nodes", label: "Nodes", icon: "nodes", page: () => <NodesPage />, one: (id) => <NodePage id={id} /> },
  { path: "assets", label: "Assets", icon: "assets", page: () => <AssetsPage />, one: (id) => <AssetPage id={id} /> },
  { path: "leases", label: "Leases", icon: "leases", page: () => <LeasesPage />, one: (id) => <LeasePage id={id} /> },
  { path: "jobs", label: "Jobs", icon: "jobs", page: () => <JobsPage />, one: (id) => <JobPage id={id} /> },
  { path: "files", label: "Files", icon: "files", page: () => <FilesPage /> },
  { path: "blocks", label: "Ledger", icon: "ledger", page: () => <LedgerPage />, one: (id) => <BlockPage height={id} /> },
  { path: "trust", label: "TrustChain", icon: "trust", page: () => <TrustChainPage /> },
  { path: "wallet", label: "Wallet", icon: "wallet", page: () => <WalletPage /> },
  { path: "cheat", label: "Try to cheat", icon: "cheat", page: () => <CheatPage /> },
  { path: "first-run", label: "First run", icon: "first", page: () => <FirstRunPage /> },
];

/** Pages that stand below an entry of the menu under another name. */
const BELOW: Record<string, string> = { transactions: "blocks" };

export function App() {
  const { path } = usePlace();
  const [first = "", id] = path;
  const menu = BELOW[first] ?? first;
  const main = useRef<HTMLElement>(null);
  return (
    <div className="frame">
      <a
        className="skip"
        href="#main"
        onClick={(event) => {
          // The part after the `#` is the page's own.
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <Side current={menu} />
      <div>
        <Banners />
        <main id="main" className="content" ref={main} tabIndex={-1}>
          <ErrorBoundary key={path.join("/")}>
            <PageOf first={first} id={id} />
          </ErrorBoundary>
        </main>
      </div>
      <Toasts />
    </div>
  );
}

function PageOf({ first, id }: { first: string; id: string | undefined }) {
  if (first === "transactions" && id) return <TransactionPage key={id} id={id} />;
  const entry = MENU.find((each) => each.path === first);
  if (entry && id === undefined) return entry.page();
  if (entry?.one && id !== undefined) return entry.one(id);
  return (
    <Page title="Not found">
      <Empty icon="overview" title="There is no such page">
        <p>
          <a href={link("/")}>Go to the overview</a>
        </p>
      </Empty>
    </Page>
  );
}

function Side({ current }: { current: string }) {
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [current]);
  return (
    <header className="side" data-open={open}>
      <div className="side-top">
        <a className="brand" href={link("/")}>
          <img src="/icon.svg" alt="" />
          HyperMesh
        </a>
        <button type="button" className="button menu-button" aria-expanded={open} aria-controls="menu" onClick={() => setOpen(!open)}>
          <Icon name={open ? "close" : "menu"} />
          Menu
        </button>
      </div>
      <nav aria-label="Pages">
        <ul className="menu" id="menu">
          {MENU.map((entry) => (
            <li key={entry.path}>
              <a href={link(`/${entry.path}`)} aria-current={entry.path === current ? "page" : undefined}>
                <Icon name={entry.icon} />
                {entry.label}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div className="side-foot">
        <FeedState />
        <ThemeButton />
      </div>
    </header>
  );
}

function FeedState() {
  const { state, heardMs } = useStore(feed);
  const words = { opening: "Connecting", live: "Live", stale: `Silent since ${clockTime(heardMs)}` }[state];
  return (
    <p className={`state ${{ opening: "idle", live: "good", stale: "warn" }[state]}`}>
      <Icon name={{ opening: "busy", live: "ok", stale: "warn" }[state] as IconName} />
      {words}
    </p>
  );
}

function ThemeButton() {
  const chosen = useStore(theme);
  const icon = { system: "system", light: "sun", dark: "moon" }[chosen] as IconName;
  return (
    <button type="button" className="button plain small" onClick={nextTheme}>
      <Icon name={icon} />
      Colours: {chosen}
    </button>
  );
}

function Banners() {
  const known = useStore(token);
  const { state, heardMs, reason } = useStore(feed);
  const now = useStore(clock);
  useEffect(() => {
    document.documentElement.dataset["feed"] = state;
  }, [state]);
  return (
    <section className="banners" aria-label="Notices">
      {state === "stale" && (
        <div className="banner stale" role="status">
          <Icon name="warn" />
          <strong>Not live.</strong>
          <span>
            The node has said nothing for {ago(heardMs, now).replace(" ago", "")}
            {reason && ` (${reason})`}. Figures are as of {clockTime(heardMs)}.
          </span>
        </div>
      )}
      {known === null && (
        <div className="banner" role="note">
          <Icon name="lock" />
          <strong>Read-only.</strong>
          <span>
            To change things here, open the page with <code>hm ui</code>
          </span>
          <Copy text="hm ui" what="hm ui" />
        </div>
      )}
    </section>
  );
}
