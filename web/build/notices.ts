/** `notices.txt` in the build: the licence of every package whose code is in it. */
import { readdir, readFile } from "node:fs/promises";
import { join, sep } from "node:path";
import type { Plugin } from "vite";

const ALLOWED = new Set(["MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0"]);

export function notices(): Plugin {
  return {
    name: "notices",
    apply: "build",
    async generateBundle(_, bundle) {
      const roots = new Set<string>();
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== "chunk") continue;
        for (const module of chunk.moduleIds) {
          const root = packageRoot(module.replaceAll("\0", ""));
          if (root) roots.add(root);
        }
      }
      const texts = await Promise.all([...roots].sort().map(notice));
      this.emitFile({ type: "asset", fileName: "notices.txt", source: texts.join("\n\n") });
    },
  };
}

/** The directory of the package that `module` is a file of; undefined for our own. */
export function packageRoot(module: string): string | undefined {
  const parts = module.split(sep);
  const at = parts.lastIndexOf("node_modules");
  if (at < 0) return undefined;
  const length = parts[at + 1]?.startsWith("@") ? 3 : 2;
  return parts.slice(0, at + length).join(sep);
}

async function notice(root: string): Promise<string> {
  const said = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  if (!ALLOWED.has(said.license)) {
    throw new Error(`${said.name} is under ${said.license}, which the wheel may not carry`);
  }
  const files = await readdir(root);
  const file = files.find((each) => /^licen[cs]e/i.test(each));
  const text = file ? await readFile(join(root, file), "utf8") : `Licence: ${said.license}`;
  return `${said.name} ${said.version} (${said.license})\n\n${text.trim()}`;
}
