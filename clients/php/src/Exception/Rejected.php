<?php

declare(strict_types=1);

namespace Sidecar\Exception;

/**
 * The daemon refused: mend the call, or wait. `reason` is its word for why, as PROTOCOL.md lists them.
 */
final class Rejected extends \RuntimeException implements SidecarException
{
    public function __construct(public readonly string $reason, string $message)
    {
        parent::__construct($message);
    }
}
