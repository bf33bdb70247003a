import { ActionIcon, Combobox, TextInput, useCombobox } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconFilter, IconX } from '@tabler/icons-react';
import { type KeyboardEvent, type Ref, useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useCatalogue, useEdges } from '~/api/queries';
import { type Completion, choices, complete, completionAt } from '~/lib/filter';
import { Key } from '~/parts/marks';
import css from './TopBar.module.css';
import { ask, useView } from './view';

export interface FilterHandle {
  focus: () => void;
}

const VALUES_MAX = 200;

/** The filter of all views, with completion of names, operators and values. Enter applies, Escape gives up. */
export function FilterBox({ ref }: { ref: Ref<FilterHandle> }) {
  const view = useView();
  const input = useRef<HTMLInputElement>(null);
  const [draft, setDraft] = useState(view.filter ?? '');
  const [caret, setCaret] = useState(0);
  const combobox = useCombobox();
  /** Where the caret belongs after a choice was put in. */
  const put = useRef<number>(undefined);
  useImperativeHandle(ref, () => ({ focus: () => input.current?.focus() }));
  useEffect(() => setDraft(view.filter ?? ''), [view.filter]);

  const at = useMemo(() => completionAt(draft, caret), [draft, caret]);
  const suggestions = useSuggestions(at, combobox.dropdownOpened);
  const error = useFilterError(view.filter);

  const follow = () => setCaret(input.current?.selectionStart ?? 0);
  const take = (choice: string) => {
    const next = complete(draft, at, choice);
    setDraft(next.text);
    setCaret(next.caret);
    combobox.resetSelectedOption();
    put.current = next.caret;
  };
  // At once with the text: a frame later the next letter may already stand there.
  useLayoutEffect(() => {
    if (put.current === undefined) return;
    input.current?.setSelectionRange(put.current, put.current);
    put.current = undefined;
  });
  const apply = (text: string) => {
    view.set({ filter: text.trim() || undefined });
    combobox.closeDropdown();
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && combobox.getSelectedOptionIndex() < 0) {
      event.preventDefault();
      apply(draft);
    } else if (
      event.key === 'Tab' &&
      !event.shiftKey &&
      combobox.dropdownOpened &&
      suggestions[0] &&
      at.typed !== '' &&
      suggestions[0] !== at.typed
    ) {
      event.preventDefault();
      take(suggestions[Math.max(0, combobox.getSelectedOptionIndex())] ?? suggestions[0]);
    } else if (event.key === 'Escape') {
      if (!combobox.dropdownOpened) {
        setDraft(view.filter ?? '');
        input.current?.blur();
      }
      combobox.closeDropdown();
    }
  };
  return (
    <div className={css.filter}>
      <Combobox store={combobox} onOptionSubmit={take} withinPortal position="bottom-start">
        <Combobox.Target>
          <TextInput
            ref={input}
            className={css.mono}
            size="xs"
            value={draft}
            aria-label="Filter"
            aria-keyshortcuts="/"
            placeholder="Filter: source.zone = 'us-east-1b' AND …"
            spellCheck={false}
            autoComplete="off"
            error={error !== undefined}
            leftSection={<IconFilter size={14} stroke={1.8} />}
            rightSection={
              draft ? (
                <ActionIcon variant="subtle" color="gray" size="sm" aria-label="Clear the filter" onClick={() => apply('')}>
                  <IconX size={13} />
                </ActionIcon>
              ) : (
                <Key>/</Key>
              )
            }
            onChange={(e) => {
              setDraft(e.currentTarget.value);
              setCaret(e.currentTarget.selectionStart ?? 0);
              combobox.openDropdown();
              combobox.resetSelectedOption();
            }}
            onKeyDown={onKey}
            onKeyUp={follow}
            onClick={() => {
              follow();
              combobox.openDropdown();
            }}
            onFocus={() => {
              follow();
              combobox.openDropdown();
            }}
            onBlur={() => combobox.closeDropdown()}
          />
        </Combobox.Target>
        <Combobox.Dropdown hidden={suggestions.length === 0}>
          <Combobox.Options aria-label="Suggestions">
            {suggestions.map((s) => (
              <Combobox.Option key={s} value={s} className={css.option}>
                <bdi>{s}</bdi>
              </Combobox.Option>
            ))}
          </Combobox.Options>
          <div className={css.hint}>↑↓ choose · Tab takes · Enter applies</div>
        </Combobox.Dropdown>
      </Combobox>
      {error && (
        <div className={css.filterNote} role="alert">
          {error}
        </div>
      )}
    </div>
  );
}

/** What may be written at the caret; values come from the edges of the range. */
function useSuggestions(at: Completion, opened: boolean): string[] {
  const view = useView();
  const catalogue = useCatalogue().data;
  const names = useMemo(() => {
    const measures = [...(catalogue?.derived ?? []), ...(catalogue?.signals ?? []).filter((s) => s.kind !== 'histogram')].map(
      (m) => m.name,
    );
    return [...(catalogue?.dimensions ?? []), ...measures];
  }, [catalogue]);
  const dim = at.wants === 'value' && catalogue?.dimensions.includes(at.of ?? '') ? at.of : undefined;
  const values = useEdges(
    opened && dim ? ask(view, { group: [dim], measures: ['tcp.bytes'], sort: '-tcp.bytes', limit: VALUES_MAX }) : undefined,
  );
  if (!opened) return [];
  const known = dim && values.data?.group_by[0] === dim ? values.data.rows.map((r) => r.key[0] ?? '') : [];
  return choices(at, names, known);
}

/** What the server says is wrong with the applied filter. */
function useFilterError(filter: string | undefined): string | undefined {
  const view = useView();
  const [settled] = useDebouncedValue(filter, 50);
  const probe = useEdges(settled ? ask(view, { group: [], measures: ['tcp.bytes'], filter: settled, limit: 1 }) : undefined);
  return settled && probe.error ? probe.error.message : undefined;
}
