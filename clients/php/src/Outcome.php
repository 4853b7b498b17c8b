<?php

declare(strict_types=1);

namespace Sidecar;

/** How a job ended; only with State::Done. */
enum Outcome: string
{
    case Succeeded = 'succeeded';
    case Failed = 'failed';
    case TimedOut = 'timed_out';
    case Cancelled = 'cancelled';
    case Expired = 'expired';
    case Rejected = 'rejected';
    case Lost = 'lost';
}
