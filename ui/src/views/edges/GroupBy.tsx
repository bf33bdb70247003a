import { Select } from '@mantine/core';
import { useCatalogue } from '~/api/queries';
import { dimLabel } from '~/parts/grid/Grid';
import css from './Edges.module.css';

export const DEFAULT_GROUP = 'source.workload,dest.workload';

/** One or two dimensions to group the edges by. */
export function GroupBy({ value, onChange }: { value: string[]; onChange: (group: string[]) => void }) {
  const dimensions = useCatalogue().data?.dimensions ?? [];
  const options = (other: string | undefined) => dimensions.filter((d) => d !== other).map((d) => ({ value: d, label: dimLabel(d) }));
  const [first, second] = value;
  return (
    <div className={css.groupBy}>
      <span className={css.groupWord}>Group by</span>
      <Select
        size="xs"
        w={172}
        aria-label="Group by"
        data={options(second)}
        value={first ?? null}
        allowDeselect={false}
        searchable
        onChange={(d) => d && onChange(second ? [d, second] : [d])}
      />
      <Select
        size="xs"
        w={172}
        aria-label="and then by"
        placeholder="nothing more"
        data={options(first)}
        value={second ?? null}
        clearable
        searchable
        onChange={(d) => first && onChange(d ? [first, d] : [first])}
      />
    </div>
  );
}
