/** The same thing from a shell, with curl and in Python. Pure. */

export interface Snippets {
  cli: string;
  curl: string;
  python: string;
}

/** What a page shows, as far as it can be asked for elsewhere. */
export type Subject =
  | { noun: "network" }
  | { noun: "nodes" }
  | { noun: "node"; id: string }
  | { noun: "assets"; kind?: string }
  | { noun: "asset"; id: string }
  | { noun: "leases" }
  | { noun: "lease"; id: string }
  | { noun: "jobs" }
  | { noun: "job"; id: string }
  | { noun: "transfers" }
  | { noun: "inbox" }
  | { noun: "blocks" }
  | { noun: "block"; height: number }
  | { noun: "transaction"; id: string }
  | { noun: "account" }
  | { noun: "certificates" }
  | { noun: "attempts" };

export function snippets(of: Subject, origin: string): Snippets {
  const { cli, path, python, privately } = said(of);
  const header = privately ? ' \\\n  -H "Authorization: Bearer $(cat ~/.local/share/hypermesh/api-token)"' : "";
  return {
    cli,
    curl: `curl -s ${shellQuoted(origin + path)}${header}`,
    python: `import hypermesh as hm\n\nwith hm.connect() as mesh:\n    ${python}`,
  };
}

interface Said {
  cli: string;
  path: string;
  python: string;
  /** A read that the node answers its owner alone. */
  privately?: boolean;
}

function said(of: Subject): Said {
  switch (of.noun) {
    case "network":
      return { cli: "hm status", path: "/v1/network", python: "print(mesh.network.status())" };
    case "nodes":
      return { cli: "hm node ls", path: "/v1/nodes", python: each("node", "mesh.network.nodes()") };
    case "node":
      return { cli: `hm node show ${of.id}`, path: `/v1/nodes/${of.id}`, python: `print(mesh.network.node("${of.id}"))` };
    case "assets": {
      const kind = of.kind;
      return {
        cli: kind ? `hm asset ls --kind ${kind}` : "hm asset ls",
        path: kind ? `/assets?kind=${kind}` : "/assets",
        python: each("asset", kind ? `(each for each in mesh.assets.list() if each.kind == "${kind}")` : "mesh.assets.list()"),
      };
    }
    case "asset":
      return { cli: `hm asset show ${of.id}`, path: `/assets/${of.id}`, python: `print(mesh.assets.get("${of.id}"))` };
    case "leases":
      return { cli: "hm lease ls --all", path: "/v1/leases", python: each("lease", "mesh.leases.list()") };
    case "lease":
      return { cli: `hm lease show ${of.id}`, path: `/v1/leases/${of.id}`, python: `print(mesh.leases.get("${of.id}"))` };
    case "jobs":
      return { cli: "hm job ls", path: "/v1/jobs", python: each("job", "mesh.jobs.list()"), privately: true };
    case "job":
      return {
        cli: `hm job show ${of.id}`,
        path: `/v1/jobs/${of.id}`,
        python: `print(mesh.jobs.get("${of.id}").refresh())`,
        privately: true,
      };
    case "certificates":
      return { cli: "hm cert ls", path: "/v1/certificates", python: each("certificate", "mesh.certificates.list()") };
    case "transfers":
      return { cli: "hm transfer ls", path: "/v1/transfers", python: each("sent", "mesh.transfer.list()"), privately: true };
    case "inbox":
      return { cli: "hm inbox ls", path: "/v1/inbox", python: each("came", "mesh.inbox.list()"), privately: true };
    case "blocks":
      return { cli: "hm block ls", path: "/v1/blocks", python: each("block", "mesh.ledger.blocks()") };
    case "block":
      return {
        cli: `hm block show ${of.height}`,
        path: `/v1/blocks/${of.height}`,
        python: `print(mesh.ledger.block(${of.height}))`,
      };
    case "transaction":
      return { cli: `hm tx show ${of.id}`, path: `/v1/transactions/${of.id}`, python: `print(mesh.ledger.transaction("${of.id}"))` };
    case "account":
      return { cli: "hm wallet show", path: "/v1/accounts/me", python: "print(mesh.accounts.get())" };
    case "attempts":
      return { cli: "hm try-to-cheat", path: "/v1/attempts", python: each("attempt", "mesh.attempts.list()"), privately: true };
  }
}

function each(name: string, list: string): string {
  return `for ${name} in ${list}:\n        print(${name})`;
}

/** `text` as one word of a POSIX shell. */
export function shellQuoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
