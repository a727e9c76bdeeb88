import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { compressed } from "./build/compressed.ts";
import { notices } from "./build/notices.ts";

// The node that the development server asks; `npm run dev` alone uses this.
const node = process.env["HYPERMESH_API"] ?? "http://localhost:5173";
const proxied = ["/v1", "/assets", "/privacy", "/consensus", "/metrics", "/events", "/livez", "/readyz"];

export default defineConfig({
  plugins: [react(), notices(), compressed()],
  build: {
    outDir: "../src/hypermesh/_ui",
    emptyOutDir: true,
    assetsDir: "static", // `/assets` is the API's
    assetsInlineLimit: 0, // the content security policy takes no data: URLs
    modulePreload: { polyfill: false },
    target: "es2023",
    license: false,
  },
  server: {
    port: 5199,
    strictPort: true,
    proxy: Object.fromEntries(proxied.map((path) => [path, { target: node, changeOrigin: true }])),
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
