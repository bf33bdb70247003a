import { Button, Modal, PasswordInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { ApiError, token } from '~/api/client';
import { useStatus } from '~/api/queries';

/** Asks for a token when the server wants one. It stays in this tab and goes nowhere but to the server. */
export function TokenGate() {
  const { error } = useStatus();
  const client = useQueryClient();
  const [value, setValue] = useState('');
  const refused = error instanceof ApiError && (error.status === 401 || error.status === 403);
  const enter = (event: FormEvent) => {
    event.preventDefault();
    token.set(value.trim());
    setValue('');
    void client.resetQueries();
  };
  return (
    <Modal opened={refused} onClose={() => undefined} withCloseButton={false} title="This server asks for a token" size="sm">
      <form onSubmit={enter}>
        <PasswordInput
          label="Token"
          description="with the role viewer or above; an administrator makes one with: edgescope config token --role viewer"
          error={token.get() ? error?.message : undefined}
          value={value}
          onChange={(e) => setValue(e.currentTarget.value)}
          autoComplete="off"
          data-autofocus
        />
        <Button type="submit" mt="md" fullWidth disabled={!value.trim()}>
          Enter
        </Button>
      </form>
    </Modal>
  );
}
