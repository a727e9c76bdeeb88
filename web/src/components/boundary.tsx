import { Component, type ReactNode } from "react";
import { asProblem } from "../api/client.ts";
import { ProblemNote } from "./feedback.tsx";

/** Where a page fails, the menu stays. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: undefined as unknown };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    if (this.state.error === undefined) return this.props.children;
    return <ProblemNote problem={asProblem(this.state.error)} retry={() => this.setState({ error: undefined })} />;
  }
}
