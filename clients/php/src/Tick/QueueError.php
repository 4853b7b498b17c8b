<?php

declare(strict_types=1);

namespace Sidecar\Tick;

use RuntimeException;
use Sidecar\Exception\SidecarException;

/** The queue, or a folder that a tick needs, cannot be used; what was in it stays as it was. */
final class QueueError extends RuntimeException implements SidecarException
{
}
