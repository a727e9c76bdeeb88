/** The network as a graph: this node in the middle, the others around it. The table beside it says
 * the same, so the picture itself is hidden from screen readers. */
import cytoscape from "cytoscape";
import { useEffect, useRef } from "react";
import { go } from "../route.ts";
import { colour, onColours } from "../theme.ts";
import type { NodeView } from "../pages/nodes.tsx";

/** Cytoscape puts a `<style>` into the page unless an element with this id is there; the content
 * security policy refuses it. `.graph` has what it says. */
const STYLE_ID = "__________cytoscape_stylesheet";

export default function Topology({ nodes }: { nodes: NodeView[] }) {
  const box = useRef<HTMLDivElement>(null);
  const graph = useRef<cytoscape.Core>(null);
  useEffect(() => {
    if (!box.current) return;
    if (!document.getElementById(STYLE_ID)) {
      const place = document.createElement("template");
      place.id = STYLE_ID;
      document.head.append(place);
    }
    const made = cytoscape({
      container: box.current,
      userZoomingEnabled: false,
      boxSelectionEnabled: false,
      autoungrabify: true,
      maxZoom: 1.25,
    });
    made.on("tap", "node", (event) => go(`/nodes/${event.target.id()}`));
    graph.current = made;
    const paint = (): void => void made.style(sheet());
    paint();
    const leave = onColours(paint);
    return () => {
      leave();
      made.destroy();
    };
  }, []);
  const shape = JSON.stringify(elements(nodes));
  useEffect(() => {
    const core = graph.current;
    if (!core) return;
    core.json({ elements: JSON.parse(shape) as cytoscape.ElementDefinition[] });
    core
      .layout({
        name: "concentric",
        animate: false,
        padding: 48,
        minNodeSpacing: 60,
        concentric: (node: { data: (name: string) => unknown }) => (node.data("here") ? 2 : 1),
        levelWidth: () => 1,
        startAngle: 0,
      } as cytoscape.LayoutOptions)
      .run();
    core.fit(undefined, 48);
  }, [shape]);
  return <div className="graph" ref={box} aria-hidden="true" />;
}

function elements(nodes: NodeView[]): cytoscape.ElementDefinition[] {
  const here = nodes.find((each) => each.here);
  const points = nodes.map((node) => ({
    data: { id: node.node, label: node.name || node.node.slice(0, 8), here: node.here, revoked: node.revoked, attested: node.attested },
  }));
  if (!here) return points;
  const lines = nodes
    .filter((node) => !node.here)
    .map((node) => {
      const moved = (node.connection?.bytes_sent ?? 0) + (node.connection?.bytes_received ?? 0);
      return {
        data: {
          id: `line ${node.node}`,
          source: here.node,
          target: node.node,
          connected: node.connection?.connected ?? false,
          // One step for each factor of ten, so that the drawing is still while bytes trickle.
          width: 1.5 + Math.max(0, Math.floor(Math.log10(moved + 1)) - 3),
        },
      };
    });
  return [...points, ...lines];
}

function sheet(): cytoscape.StylesheetJson {
  return [
    {
      selector: "node",
      style: {
        label: "data(label)",
        shape: "round-hexagon",
        width: 46,
        height: 46,
        "background-color": colour("surface"),
        "border-width": 3,
        "border-color": colour("line-strong"),
        color: colour("text"),
        "font-size": 14,
        "font-family": "system-ui, sans-serif",
        "text-valign": "bottom",
        "text-margin-y": 6,
        "text-background-color": colour("surface"),
        "text-background-opacity": 1,
        "text-background-padding": "2px",
      },
    },
    { selector: "node[?attested]", style: { "border-color": colour("good") } },
    { selector: "node[?here]", style: { "background-color": colour("accent"), "border-color": colour("accent") } },
    { selector: "node[?revoked]", style: { "border-color": colour("bad"), "border-style": "double" } },
    { selector: "edge", style: { width: "data(width)", "line-color": colour("line-strong"), "line-style": "dashed", "curve-style": "straight" } },
    { selector: "edge[?connected]", style: { "line-color": colour("series-1"), "line-style": "solid" } },
  ];
}
