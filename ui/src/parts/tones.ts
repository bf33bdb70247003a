/** One icon for each tone of a headline: colour is never the only sign. */
import {
  IconAlertOctagonFilled,
  IconAlertTriangleFilled,
  IconCircleCheckFilled,
  IconEyeOff,
  IconInfoCircleFilled,
} from '@tabler/icons-react';
import type { Tone } from '~/lib/words';

export const TONE_ICON: Record<Tone, typeof IconEyeOff> = {
  bad: IconAlertOctagonFilled,
  warn: IconAlertTriangleFilled,
  info: IconInfoCircleFilled,
  unknown: IconEyeOff,
  ok: IconCircleCheckFilled,
};
