/** Tabs whose choice is in the URL. Arrow keys move between them (WAI-ARIA authoring practices). */
import { type KeyboardEvent, type ReactNode, useEffect, useId, useRef } from "react";
import { amend, usePlace } from "../route.ts";

export interface Tab {
  name: string;
  label: string;
  content: () => ReactNode;
}

export function Tabs({ tabs, label }: { tabs: readonly Tab[]; label: string }) {
  const asked = usePlace().query.get("tab");
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const chosen = tabs.find((each) => each.name === asked) ?? tabs[0];
  const name = chosen?.name;
  useEffect(() => {
    // On a narrow screen the list scrolls sideways.
    list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [name]);
  if (!chosen) return null;
  const choose = (tab: Tab | undefined): void => amend({ tab: tab === tabs[0] ? undefined : tab?.name });
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = (tabs.indexOf(chosen) + step + tabs.length) % tabs.length;
    choose(tabs[next]);
    list.current?.querySelectorAll<HTMLElement>("[role=tab]")[next]?.focus();
  };
  return (
    <div className="stack">
      <div className="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={onKeyDown}>
        {tabs.map((tab) => (
          <button
            key={tab.name}
            type="button"
            role="tab"
            id={`${id}-${tab.name}`}
            aria-selected={tab === chosen}
            aria-controls={`${id}-panel`}
            tabIndex={tab === chosen ? 0 : -1}
            onClick={() => choose(tab)}
          >
            {tab.label}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${chosen.name}`} className="stack">
        {chosen.content()}
      </div>
    </div>
  );
}
