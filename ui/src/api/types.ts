/** Words of the API, named for the views. Their shapes are generated from the server's description. */
import type { components } from './schema';

type Schemas = components['schemas'];

/** RFC 3339. */
export type Instant = string;

export type EdgeQuery = Schemas['EdgesRequest'] & { group_by: string[] };
export type EdgeRow = Schemas['EdgeRow'];
export type EdgeTable = Schemas['EdgeTable'];
export type EdgesAnswer = Schemas['EdgesAnswer'];
export type Coverage = Schemas['Coverage'];

export type Answer = Schemas['Answer'];
export type Class = Schemas['Class'];
export type Scope = Schemas['Scope'];
export type Culprit = Schemas['Culprit'];
export type Hypothesis = Schemas['Hypothesis'];
export type Verdict = Schemas['Verdict'];

export type Asked = Schemas['Asked'];
export type AskedName = Schemas['AskedName'];

export type Alert = Schemas['Alert'];
export type Incident = Schemas['Incident'];
export type Status = Schemas['Status'];

export type Why = Schemas['Why'];
export type Claim = Schemas['Claim'];

export type Unit = Schemas['Unit'];
/** What can be asked for: as much of it as the views read. */
export interface Catalogue {
  dimensions: string[];
  signals: Pick<Schemas['CatalogueSignal'], 'name' | 'kind' | 'ends' | 'unit' | 'brief'>[];
  derived: Pick<Schemas['CatalogueDerived'], 'name' | 'unit' | 'brief'>[];
}

/** Why the server did not answer. */
export type Problem = Schemas['ErrorBody'];
