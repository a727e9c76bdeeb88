import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.tsx";
import { start } from "./live/feed.ts";
import { enter } from "./session.ts";
import { dress } from "./theme.ts";
import "./styles/index.css";

dress();
enter();
start();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
