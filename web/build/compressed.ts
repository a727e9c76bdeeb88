/** Beside each text file of the build its `.gz` and `.br`, so that the node never compresses. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const TEXT = /\.(html|js|css|svg|txt|json)$/;
const BYTES_MIN = 512;

export function compressed(): Plugin {
  let directory = "";
  return {
    name: "compressed",
    apply: "build",
    configResolved(config) {
      directory = config.build.outDir;
    },
    async closeBundle() {
      const files = await readdir(directory, { recursive: true });
      for (const file of files.filter((each) => TEXT.test(each))) {
        const path = join(directory, file);
        const content = await readFile(path);
        if (content.length < BYTES_MIN) continue;
        await writeFile(`${path}.gz`, gzipSync(content, { level: 9 }));
        const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
        await writeFile(`${path}.br`, brotliCompressSync(content, { params: quality }));
      }
    },
  };
}
