<?php

declare(strict_types=1);

namespace Sidecar;

/** Where a job is. */
enum State: string
{
    case Scheduled = 'scheduled';
    case Queued = 'queued';
    case Running = 'running';
    case Done = 'done';
}
