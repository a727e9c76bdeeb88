/** The API's types, by the names that they have in `openapi/hypermesh.json`. */
import type { components } from "./schema.gen.ts";

export type Schemas = components["schemas"];

/** A page of any list. */
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export type Operation = Schemas["OperationView"];
export type LeaseStep = Schemas["LeaseEvent"];
